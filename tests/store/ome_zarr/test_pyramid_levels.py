"""Pyramid levels of OME-Zarr movies: values, places, damage, kills, and every entrance."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import numpy as np
import ome_zarr.utils
import ome_zarr_models
import pytest
import zarr
from typer.testing import CliRunner

import photon_gpu as pg
from photon_gpu.cli.app import app
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.store.claim import Claim
from photon_gpu.store.ome_zarr import shards
from photon_gpu.store.ome_zarr.zarr2_view import OmeZarrStorage
from photon_gpu.writer import ome_zarr_axes_and_shards as writer
from tests.support.noise.one_camera_movies import CAMERA, camera_movie

VALUES = camera_movie(45, 17, 22)
OPTIONS = {"noise": CAMERA, "chunk_frames": 10, "preset": "fast"}
LAYOUTS = ("plain", "compact", "lossless")


@pytest.fixture(autouse=True)
def two_chunks_in_a_shard(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 2 * 10 * 17 * 22 * 2)


@pytest.fixture(params=LAYOUTS)
def url(request, tmp_path):
    pg.encode(VALUES, tmp_path / "m.ome.zarr", layout=request.param, pyramid=2, **OPTIONS)
    return str(tmp_path / "m.ome.zarr")


def tree(url):
    return {str(path): path.read_bytes() for path in sorted(Path(url).rglob("*")) if path.is_file()}


def averaged(counts, level):
    size = 2**level
    rows, columns = (range(0, length, size) for length in counts.shape[-2:])
    means = [[counts[..., y : y + size, x : x + size].mean((-1, -2)) for x in columns] for y in rows]
    return np.moveaxis(np.array(means), (0, 1), (-2, -1))


def test_levels_are_averages_in_the_values_of_level_0_as_exact_as_their_noise_needs(url):
    movie, group = pg.open(url), zarr.open_group(url, mode="r")
    assert sorted(group) == ["0", "1", "2"]
    for level in (1, 2):
        stored, means = group[str(level)][...], averaged(movie.counts[...].astype(float), level)
        assert (stored.shape, stored.dtype) == (means.shape, group["0"].dtype)
        sigma = np.sqrt(CAMERA.gain * (means - CAMERA.offset) + 0.375 * CAMERA.gain**2 + CAMERA.variance)
        if movie.layout == "plain":
            assert abs(stored - pg.anscombe(means, CAMERA)).max() <= 0.25 / 2**level + 1e-9
        elif movie.layout == "compact":
            assert abs(stored - means).max() <= max(1.0, 0.5 * sigma.max() / 2**level)
        else:
            assert abs(stored - means).max() < 1.0
        if movie.layout != "plain":
            assert abs((stored - means).mean()) < 0.05
    assert pg.verify(url, deep=True).ok


def test_viewers_list_the_levels_and_need_no_codec_for_them(url, capsys):
    ome_zarr_models.open_ome_zarr(zarr.open_group(url, mode="r"))
    (node,) = ome_zarr.utils.info(url)
    assert [array.shape for array in node.data] == [(45, 17, 22), (45, 9, 11), (45, 5, 6)]
    codecs = json.loads(Path(url, "1", "zarr.json").read_text())["codecs"][0]["configuration"]["codecs"]
    assert [codec["name"] for codec in codecs] == ["bytes", "blosc"]


def test_xarray_opens_level_0_without_the_others(url):
    """Dimensions of a dataset have one size, and OME-Zarr asks for the same names in all levels."""
    xarray = pytest.importorskip("xarray")
    array = xarray.open_zarr(url, consolidated=False, drop_variables=["1", "2"])["0"]
    assert (array.dims, array.shape) == (("t", "y", "x"), VALUES.shape)


def test_the_first_pixel_of_a_level_lies_at_the_centre_of_what_it_averages(tmp_path):
    source = pg.open_source(VALUES)
    source.recording = source.recording.replace(pixel_size={"y": (0.5, "µm"), "x": (2.0, "µm")})
    url = tmp_path / "m.ome.zarr"
    pg.encode(source, url, pyramid=2, **OPTIONS)
    (image,) = json.loads((url / "zarr.json").read_text())["attributes"]["ome"]["multiscales"]
    assert [one["path"] for one in image["datasets"]] == ["0", "1", "2"]
    assert image["datasets"][2]["coordinateTransformations"] == [
        {"type": "scale", "scale": [1.0, 2.0, 8.0]},
        {"type": "translation", "translation": [0.0, 0.75, 3.0]},
    ]


def test_dark_frames_keep_their_mean_light(tmp_path):
    counts = np.random.default_rng(5).poisson(0.1, (20, 64, 64)).astype("uint8")
    pg.encode(counts, tmp_path / "m.ome.zarr", layout="lossless", check=False, pyramid=3)
    group = zarr.open_group(str(tmp_path / "m.ome.zarr"), mode="r")
    for level in ("1", "2", "3"):
        assert group[level][...].mean() == pytest.approx(counts.mean(), rel=0.15)


def test_each_channel_is_averaged_with_its_own_model(tmp_path):
    counts, models = VALUES[:40].reshape(20, 2, 17, 22), [CAMERA, pg.NoiseModel(gain=9.0, offset=50.0)]
    url = tmp_path / "m.ome.zarr"
    options = OPTIONS | {"noise": models, "trust_noise": True, "check": False}
    pg.encode(counts, url, axes="tcyx", pyramid=1, **options)
    level, means = zarr.open_group(str(url), mode="r")["1"][...], averaged(pg.open(url).counts[...], 1)
    for channel, model in enumerate(models):
        assert abs(level[:, channel] - pg.anscombe(means[:, channel], model)).max() <= 0.126


def test_every_damaged_file_of_a_level_is_named_and_averaged_again_without_the_source(url):
    whole = tree(url)
    for path in [path for path in whole if not path.startswith((f"{url}/0", f"{url}/zarr.json"))]:
        data = whole[path]
        for damaged in (data[:-1] + bytes([data[-1] ^ 1]), data[: len(data) // 2], None):
            os.unlink(path) if damaged is None else Path(path).write_bytes(damaged)
            verified = pg.verify(url)
            assert [problem.name for problem in verified.problems] == [path.removeprefix(f"{url}/")]
            assert verified.lost == ()
            assert pg.repair(url).ok
            assert tree(url) == whole


def test_levels_of_a_damaged_chunk_wait_for_the_source(url):
    whole = tree(url)
    for name in ("0/c/1/0/0", "1/c/1/0/0"):
        Path(url, name).write_bytes(b"\0" * 40 + whole[f"{url}/{name}"][40:])
    fixed = pg.repair(url)
    assert dict(fixed.left)["1/c/1/0/0"] == "the frames that it is averaged from are damaged"
    assert pg.repair(url, VALUES).ok
    assert tree(url) == whole


def test_a_lost_manifest_lists_the_levels_again(tmp_path):
    url = tmp_path / "m.ome.zarr"
    pg.encode(VALUES, url, layout="compact", pyramid=1, **OPTIONS)
    whole = tree(url)
    (url / "0/.manifest.json").unlink()
    (url / "1/c/2/0/0").write_bytes(b"damaged")
    assert pg.repair(url).ok
    assert tree(url) == whole


def test_a_kill_lists_no_level_and_the_next_encode_may_have_fewer(tmp_path, monkeypatch):
    url, other = tmp_path / "m.ome.zarr", tmp_path / "other.ome.zarr"
    options = OPTIONS | {"resume": True}
    with monkeypatch.context() as patch:
        patch.setattr(Claim, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pg.encode(VALUES, url, pyramid=2, **options)
    assert (url / "2/c/0/0/0").exists() and not (url / "zarr.json").exists()
    assert {problem.kind for problem in pg.verify(url).problems} <= {"unfinished", "missing"}
    pg.encode(VALUES, url, pyramid=1, **options)
    pg.encode(VALUES, other, pyramid=1, **OPTIONS)
    assert pg.verify(url).ok
    assert [name.replace("other", "m") for name in tree(other)] == list(tree(url))


def test_a_failure_leaves_nothing_and_an_overwrite_no_level(tmp_path, monkeypatch):
    url = tmp_path / "m.ome.zarr"
    read = OmeZarrStorage.read_stored

    def altered(self, name):
        return read(self, name) + b"\0" * name.startswith("2/c/1")

    with monkeypatch.context() as patch:
        patch.setattr(OmeZarrStorage, "read_stored", altered)
        with pytest.raises(CorruptDataError, match="2/c/1/0/0 reads back other bytes"):
            pg.encode(VALUES, url, pyramid=2, **OPTIONS)
    assert not list(tmp_path.iterdir())
    pg.encode(VALUES, url, pyramid=2, **OPTIONS)
    pg.encode(VALUES, url, overwrite=True, **OPTIONS)
    assert sorted(path.name for path in url.iterdir()) == ["0", "zarr.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["m.ome.zarr"]


def test_what_has_no_levels_is_refused_by_name(tmp_path):
    refused = {
        "a movie in a folder has no levels": lambda: pg.encode(VALUES, tmp_path / "m.zarr", pyramid=1),
        "a name that ends in .ome.zarr": lambda: pg.encode_many([VALUES], [tmp_path / "m.zarr"], pyramid=1),
        "at most 4 levels": lambda: pg.encode(VALUES, tmp_path / "m.ome.zarr", pyramid=5, **OPTIONS),
        "at least 0": lambda: pg.encode(VALUES, tmp_path / "m.ome.zarr", pyramid=-1, **OPTIONS),
    }
    for message, call in refused.items():
        with pytest.raises(InvalidInputError, match="pyramid") as caught:
            call()
        assert message in str(caught.value) and len(str(caught.value)) <= 300 + len(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_command_line_writes_levels(tmp_path):
    np.save(tmp_path / "m.npy", VALUES)
    line = ["encode", str(tmp_path / "m.npy"), str(tmp_path / "m.ome.zarr"), "--layout", "lossless"]
    result = CliRunner().invoke(app, [*line, "--pyramid", "2"])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(app, ["info", str(tmp_path / "m.ome.zarr")])
    assert "2 levels below the full resolution" in result.output


def test_reports_tell_the_bytes_of_levels_from_those_of_the_movie(tmp_path):
    alone = pg.encode(VALUES, tmp_path / "alone.ome.zarr", **OPTIONS)
    report = pg.encode(VALUES, tmp_path / "m.ome.zarr", pyramid=2, **OPTIONS)
    files = [path for level in "12" for path in (tmp_path / "m.ome.zarr" / level).rglob("*")]
    size = sum(path.stat().st_size for path in files if path.is_file())
    (note,) = (note for note in report.notes if "pyramid" in note)
    assert f"take {size:,} of the stored bytes" in note
    assert float(note.split()[-1]) == pytest.approx(alone.ratio, rel=0.02)  # the manifest names the levels
    assert not any("pyramid" in note for note in alone.notes)
    info = CliRunner().invoke(app, ["info", str(tmp_path / "m.ome.zarr")])
    assert f"2 levels below the full resolution, {size:,} of the stored bytes" in info.stdout


def test_levels_are_averaged_in_bounded_memory(tmp_path, monkeypatch):
    at_once, most = [], []
    read = OmeZarrStorage.read

    def counted(self, name):
        at_once.append(name)
        most.append(len(at_once))
        try:
            return read(self, name)
        finally:
            at_once.remove(name)

    def write_levels(*arguments, **options):
        monkeypatch.setattr(OmeZarrStorage, "read", counted)
        return true_write(*arguments, **options)

    true_write = writer.write_levels
    monkeypatch.setattr(writer, "write_levels", write_levels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pg.encode(VALUES, tmp_path / "m.ome.zarr", pyramid=1, budget_bytes=1, workers=4, **OPTIONS)
    assert max(most) == 1
