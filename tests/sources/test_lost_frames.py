"""Frames that a source lacks are an error; requested zeros are named wherever the movie is shown."""

import json

import numpy as np
import pytest
import tifffile
import zarr

import photon_gpu as pg
from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning
from photon_gpu.reader.export import export
from photon_gpu.sources.missing_frames import without_lost
from tests.support.sources.source_files import write_tiff

MOVIE = np.random.default_rng(0).poisson(40, (60, 32, 32)).astype("uint16")


def without(path, frames):
    with tifffile.TiffFile(path, mode="r+") as tif:
        for frame in frames:
            tif.pages[frame].tags["StripOffsets"].overwrite(0)


@pytest.fixture
def tiff(tmp_path):
    path = write_tiff(tmp_path, MOVIE, metadata=None)
    without(path, range(20, 24))
    return path


@pytest.fixture
def array(tmp_path):
    path = tmp_path / "raw.zarr"
    zarr.create_array(str(path), shape=MOVIE.shape, dtype="uint16", chunks=(4, 32, 32), fill_value=0)[...] = (
        MOVIE
    )
    next(path.rglob("c/5/0/0")).unlink()
    return path


@pytest.mark.parametrize("fixture", ["tiff", "array"])
@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_lost_frames_are_in_report_attributes_and_verify(request, tmp_path, fixture, layout):
    path, url = request.getfixturevalue(fixture), tmp_path / "m.zarr"
    with pytest.raises(CorruptDataError, match=r"\(frames 20 to 23\).*missing='zero'"):
        pg.encode(path, url, layout=layout, noise=pg.NoiseModel())
    assert not url.exists()
    with pytest.warns(PhotonWarning, match="lacks frames 20 to 23"):
        report = pg.encode(
            path, url, layout=layout, missing="zero", attributes={"mouse": 12}, noise=pg.NoiseModel()
        )
    assert any("lacks frames 20 to 23" in note for note in report.notes)
    movie = pg.open(url)
    assert movie.attrs["lost_frames"] == [[20, 24]] and movie.attrs["mouse"] == 12
    assert not movie.counts[20:24].any() and movie.counts[19].any() and movie.counts[24].any()
    verification = pg.verify(url)
    assert not verification.ok and verification.lost == ((20, 23),)


def test_an_encode_on_a_cluster_records_them_too(array, tmp_path):
    with pytest.warns(PhotonWarning), pg.open_source(array, missing="zero") as source:
        report = pg.encode_many([source], [tmp_path / "m.zarr"], layout="lossless")
    assert pg.open(tmp_path / "m.zarr").attrs["lost_frames"] == [[20, 24]]
    assert "lacks frames 20 to 23" in str(report.to_dict())


def test_a_source_with_lost_frames_is_not_deleted(tiff, tmp_path):
    with (
        pytest.warns(PhotonWarning),
        pytest.raises(InvalidInputError, match="is not deleted: the source lacks"),
    ):
        pg.encode(
            tiff, tmp_path / "m.zarr", layout="lossless", missing="zero", check="full", delete_source=True
        )
    assert tiff.exists()


def test_the_noise_is_estimated_from_frames_that_are_there(tmp_path):
    movie = pg.simulate(frames=120, height=48, width=48, seed=3)
    raw = np.asarray(movie)
    path = write_tiff(tmp_path, raw, metadata=None)
    without(path, [*range(30, 60), 7])
    there = np.delete(raw, [*range(30, 60), 7], axis=0)
    with pytest.warns(PhotonWarning), pg.open_source(path, missing="zero") as source:
        estimate = pg.estimate_noise(source)
        rest = without_lost(source)
        assert rest.shape == there.shape
        np.testing.assert_array_equal(rest.read(0, len(there)), there)
        np.testing.assert_array_equal(rest.read(8, 9), there[8:9])
    assert estimate.model == pg.estimate_noise(there).model


def test_missing_is_for_sources_that_can_tell(tmp_path):
    with pytest.raises(InvalidInputError, match="missing"):
        pg.encode(MOVIE, tmp_path / "m.zarr", missing="zero", noise=pg.NoiseModel())
    np.save(tmp_path / "m.npy", MOVIE)
    with pytest.raises(InvalidInputError, match="'missing' is not known for NumPy"):
        pg.encode(tmp_path / "m.npy", tmp_path / "m.zarr", missing="zero", noise=pg.NoiseModel())


def test_attributes_are_json(tiff, tmp_path):
    with pytest.warns(PhotonWarning):
        pg.encode(tiff, tmp_path / "m.zarr", missing="zero", noise=pg.NoiseModel())
    assert json.loads((tmp_path / "m.zarr" / ".zattrs").read_text())["lost_frames"] == [[20, 24]]


@pytest.mark.parametrize("opened", ["counts", "zarr array"])
def test_a_copy_of_a_movie_and_a_decoded_file_name_its_lost_frames(tiff, tmp_path, opened):
    with pytest.warns(PhotonWarning, match="lacks frames 20 to 23"):
        pg.encode(tiff, tmp_path / "a.zarr", layout="lossless", missing="zero", check=False)
    movie = pg.open(tmp_path / "a.zarr")
    source = movie.counts if opened == "counts" else tmp_path / "a.zarr"
    report = pg.encode(source, tmp_path / "b.zarr", layout="lossless", check=False, frames="10:22")
    assert any("lacks frames 10 to 11" in note for note in report.notes)
    assert pg.open(tmp_path / "b.zarr").attrs["lost_frames"] == [[10, 12]]
    assert pg.verify(tmp_path / "b.zarr").lost == ((10, 11),)
    note = export(movie, tmp_path / "o.npy", frames=(22, 60)).notes[0]
    assert note == "frames 22 to 23 were lost before the movie was stored: zeros stand there"
    assert not any("lost" in note for note in export(movie, tmp_path / "p.npy", frames=(24, 60)).notes)
