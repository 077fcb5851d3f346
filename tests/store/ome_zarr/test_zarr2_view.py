"""Movies in the container ome-zarr: what others read, every damage, every refusal."""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import ome_zarr.utils
import ome_zarr_models
import pytest
import zarr

import photon_gpu as pg
from photon_gpu.errors import (
    CorruptDataError,
    InvalidInputError,
    PhotonError,
    StoreExistsError,
    StoreNotFoundError,
)
from photon_gpu.reader.export import export
from photon_gpu.recording import Recording
from photon_gpu.store.ome_zarr import shards
from photon_gpu.store.ome_zarr.metadata import group_json, ome_axes
from photon_gpu.store.ome_zarr.zarr2_view import OmeZarrStorage
from tests.support.noise.one_camera_movies import CAMERA, camera_movie

VALUES = camera_movie(75, 17, 23)
OPTIONS = {"noise": CAMERA, "chunk_frames": 10, "preset": "fast"}
LAYOUTS = ("plain", "compact", "lossless")


@pytest.fixture(autouse=True)
def three_chunks_in_a_shard(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 3 * 10 * 17 * 23 * 2)


@pytest.fixture(params=LAYOUTS)
def url(request, tmp_path):
    pg.encode(VALUES, tmp_path / "m.ome.zarr", layout=request.param, **OPTIONS)
    return str(tmp_path / "m.ome.zarr")


def stored_values(movie):
    return movie[...] if movie.layout == "plain" else movie.counts[...]


def test_holds_what_a_folder_holds_chunk_by_chunk(url, tmp_path):
    movie = pg.open(url)
    pg.encode(VALUES, tmp_path / "m.zarr", layout=movie.layout, **OPTIONS)
    folder = pg.open(tmp_path / "m.zarr")
    for number in range(8):
        assert movie.chunk_bytes(number) == folder.chunk_bytes(number)
    np.testing.assert_array_equal(movie[...], folder[...])
    np.testing.assert_array_equal(movie.counts[[1, 74, 30]], folder.counts[[1, 74, 30]])
    assert movie.attrs == folder.attrs
    assert sorted(path.name for path in Path(url, "0", "c").iterdir()) == ["0", "1", "2"]
    assert pg.verify(url, deep=True).ok
    copy = pickle.loads(pickle.dumps(movie))
    np.testing.assert_array_equal(copy.counts[3], folder.counts[3])


def test_zarr_python_opens_it_and_its_group_has_one_array(url):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(url, mode="r")
        ((name, array),) = group.members()
    assert (name, array.shards, array.chunks) == ("0", (30, 17, 23), (10, 17, 23))
    assert array.metadata.dimension_names == ("t", "y", "x")
    np.testing.assert_array_equal(array[...], stored_values(pg.open(url)))


def test_xarray_zarrs_and_tensorstore_open_it(tmp_path):
    xarray, tensorstore = pytest.importorskip("xarray"), pytest.importorskip("tensorstore")
    pytest.importorskip("zarrs")
    url = str(tmp_path / "m.ome.zarr")
    pg.encode(VALUES, url, **OPTIONS)
    values = pg.open(url)[...]
    np.testing.assert_array_equal(xarray.open_zarr(url, consolidated=False)["0"].values, values)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{url}/0/"}}
    np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), values)
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        np.testing.assert_array_equal(zarr.open_group(url, mode="r")["0"][...], values)


def test_the_name_of_its_array_opens_and_verifies_the_movie(url):
    """Other tools take this name; to verify said that a sound movie had lost its metadata."""
    np.testing.assert_array_equal(pg.open(f"{url}/0")[...], pg.open(url)[...])
    assert pg.verify(f"{url}/0").ok and pg.repair(f"{url}/0").ok
    assert not Path(url, "0", ".zarray").exists()


def test_ome_zarr_models_accept_it(url):
    group = zarr.open_group(url, mode="r")
    assert isinstance(ome_zarr_models.open_ome_zarr(group), ome_zarr_models.v05.Image)


def test_ome_zarr_info_lists_its_array(url, capsys):
    (node,) = ome_zarr.utils.info(url, stats=True)
    low, high = (float(bound) for bound in (node.data[0].min(), node.data[0].max()))
    values = stored_values(pg.open(url))
    assert (low, high) == (values.min(), values.max())
    assert f"- {VALUES.shape}" in capsys.readouterr().out


def test_channels_with_models_of_their_own(tmp_path):
    values = VALUES[:60].reshape(30, 2, 17, 23)
    url = tmp_path / "two.ome.zarr"
    pg.encode(values, url, layout="compact", axes="tcyx", **OPTIONS | {"noise": [CAMERA, CAMERA]})
    movie, array = pg.open(url), zarr.open_group(str(url), mode="r")["0"]
    np.testing.assert_array_equal(array[...], movie.counts[...])
    channels = json.loads((url / "zarr.json").read_text())["attributes"]["ome"]["omero"]["channels"]
    assert [one["label"] for one in channels] == ["channel 0", "channel 1"]
    low, high = channels[1]["window"]["start"], channels[1]["window"]["end"]
    assert values[15, 1].min() <= low < high <= values[15, 1].max()


def test_group_states_axes_units_scale_and_channels():
    recording = Recording(
        axes="tcyx",
        channel_names=("green", "red"),
        pixel_size={"y": (0.5, "µm"), "x": (0.25, "furlong")},
        frame_rate=20.0,
    )
    ome = json.loads(group_json("m", "tcyx", recording, [(1, 9), (2, 8)], 255.0))["attributes"]["ome"]
    (image,) = ome["multiscales"]
    assert image["axes"] == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space"},
    ]
    scale = [{"type": "scale", "scale": [0.05, 1.0, 0.5, 0.25]}]
    assert image["datasets"] == [{"path": "0", "coordinateTransformations": scale}]
    assert [one["label"] for one in ome["omero"]["channels"]] == ["green", "red"]
    assert ome["omero"]["channels"][1]["window"] == {"min": 0.0, "max": 255.0, "start": 2, "end": 8}
    with pytest.raises(InvalidInputError, match="in this order"):
        ome_axes(Recording(axes="tzcyx"), 5)
    with pytest.raises(InvalidInputError, match="in this order"):
        ome_axes(Recording(), 6)


def damages(url):
    """Each file of a movie, flipped at the start, in the middle and at its end, cut off, and deleted."""
    for path in sorted(Path(url).rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            for at in {0, len(data) // 2, len(data) - 30, len(data) - 1}:
                yield path, data, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            yield path, data, data[:-1]
            yield path, data, data + b"\0"
            yield path, data, b""
            yield path, data, None


def test_every_damage_is_reported_and_none_gives_other_values(url):
    whole = pg.open(url).counts[...]
    seen = 0
    for path, data, damaged in damages(url):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(PhotonError):
                assert not pg.verify(url).ok, (path, damaged and len(damaged))
            try:
                values = pg.open(url).counts[...]
            except PhotonError:
                pass
            else:
                if path.name != ".manifest.json":
                    np.testing.assert_array_equal(values, whole)
        path.write_bytes(data)
        seen += 1
    assert seen > 40
    assert pg.verify(url).ok


def test_lost_frames_of_a_damaged_shard_are_named(url):
    shard = Path(url, "0", "c", "1", "0", "0")
    data = shard.read_bytes()
    shard.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    assert pg.verify(url).lost == ((30, 39),)
    with pytest.raises(CorruptDataError, match="frames 30 to 39"):
        pg.open(url)[35]
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert pg.verify(url).lost == ((30, 59),)
    shard.unlink()
    assert pg.verify(url).lost == ((30, 59),)
    np.testing.assert_array_equal(pg.open(url).counts[60:].shape, (15, 17, 23))


@pytest.mark.parametrize("check", [False, True, "full", "sample"])
def test_a_disk_that_alters_a_shard_is_caught_if_chunks_are_read_back(check, tmp_path, monkeypatch):
    true_range = OmeZarrStorage._range

    def altered(self, name, start, end):
        data = true_range(self, name, start, end)
        return data if start < 0 else data[:-1] + bytes([data[-1] ^ 1])

    monkeypatch.setattr(OmeZarrStorage, "_range", altered)
    url = tmp_path / "m.ome.zarr"
    if check in (False, "sample"):
        pg.encode(VALUES, url, check=check, **OPTIONS)
        return
    with pytest.raises(CorruptDataError, match="reads back other bytes"):
        pg.encode(VALUES, url, check=check, **OPTIONS)
    assert not url.exists()


def test_a_failed_encode_leaves_nothing_and_nothing_opens_before_the_end(tmp_path, monkeypatch):
    url = tmp_path / "m.ome.zarr"
    finished = OmeZarrStorage.write_in_order

    def fail(self, files, others=None):
        assert not (url / "zarr.json").exists()
        finished(self, files, others)
        raise OSError("no")

    monkeypatch.setattr(OmeZarrStorage, "write_in_order", fail)
    with pytest.raises(OSError, match="no"):
        pg.encode(VALUES, url, **OPTIONS)
    assert not url.exists()


def test_overwrite_replaces_a_movie_and_nothing_else(tmp_path):
    url = tmp_path / "m.ome.zarr"
    pg.encode(VALUES, url, **OPTIONS)
    with pytest.raises(StoreExistsError):
        pg.encode(VALUES, url, **OPTIONS)
    pg.encode(VALUES[:40], url, layout="compact", overwrite=True, **OPTIONS)
    assert pg.open(url).shape[0] == 40
    assert pg.verify(url).ok
    assert [path.name for path in tmp_path.iterdir()] == ["m.ome.zarr"]
    (url / "labels").mkdir()
    (url / "labels" / "zarr.json").write_text("{}")
    assert [problem.name for problem in pg.verify(url).problems] == ["/labels/zarr.json"]
    with pytest.raises(StoreExistsError, match="labels"):
        pg.encode(VALUES, url, overwrite=True, **OPTIONS)
    shutil.rmtree(url)
    pg.encode(VALUES, url, container="folder", **OPTIONS)
    assert pg.open(url).storage.container == "folder"
    with pytest.raises(StoreExistsError):
        pg.encode(VALUES, url, overwrite=True, **OPTIONS)
    assert pg.verify(url).ok


def test_every_entrance_that_cannot_write_it_says_so(tmp_path):
    url = tmp_path / "m.ome.zarr"
    pg.encode(VALUES, url, **OPTIONS)
    new = tmp_path / "new.ome.zarr"
    refused = [
        lambda: pg.encode(VALUES[:40].reshape(20, 2, 1, 17, 23), new, axes="tzcyx", **OPTIONS),
        lambda: pg.encode(VALUES, tmp_path / "new.zarr", container="ome-zarr", **OPTIONS),
        lambda: pg.encode(VALUES, new, container="tiff", **OPTIONS),
    ]
    for number, call in enumerate(refused):
        with pytest.raises(InvalidInputError, match=r"OME-Zarr|container") as caught:
            call()
        assert len(str(caught.value)) <= 300 + len(str(tmp_path)), number
    assert not new.exists()
    assert pg.verify(url).ok


@pytest.mark.parametrize("suffix", [".zarr", ".ome.zarr"])
def test_two_requests_open_a_movie_two_read_a_frame_and_one_reads_each_further_frame(suffix, monkeypatch):
    """The numbers of docs/tools.md."""
    url, requests = f"memory://counted{suffix}", []
    pg.encode(VALUES, url, **OPTIONS)
    storage = pg.Storage.at(url)
    for name in ("cat_file", "exists", "info", "ls", "find"):
        asked = getattr(storage.fs, name)

        def seen(path, *arguments, asked=asked, **options):
            requests.append(path)
            return asked(path, *arguments, **options)

        monkeypatch.setattr(storage.fs, name, seen)
    movie = pg.open(url)
    counted = [len(requests)]
    for frame in (42, 5):
        movie.counts[frame]
        counted.append(len(requests))
    monkeypatch.undo()
    storage.delete_folder()
    assert np.diff([0, *counted]).tolist() == [2, 2, 1], requests


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_with_the_suffix_opens_from_an_object_store_too(layout):
    url = "memory://named.ome.zarr"
    pg.encode(VALUES, url, layout=layout, container="folder", **OPTIONS)
    storage = pg.Storage.at(url)
    storage.write("zarr.json", b'{"zarr_format": 3, "node_type": "group"}')  # as another program might
    assert pg.open(url).storage.container == "folder"
    storage.delete_folder()
    with pytest.raises(StoreNotFoundError, match="nothing is there"):
        pg.open(url)


def test_a_movie_is_a_source(url):
    if pg.open(url).layout == "plain":
        with pytest.raises(InvalidInputError, match="photon movie already"):
            pg.open_source(url)
        return
    source = pg.open_source(url)
    assert (source.shape, source.recording.axes) == (VALUES.shape, "tyx")
    np.testing.assert_array_equal(source.read(28, 33), pg.open(url).counts[28:33])


def test_decode_writes_counts_that_need_no_codec(url, tmp_path):
    export(pg.open(url), tmp_path / "new.ome.zarr")
    array = zarr.open_group(str(tmp_path / "new.ome.zarr"), mode="r")["0"]
    np.testing.assert_array_equal(array[...], pg.open(url).counts[...])
    assert "photon" not in str(array.metadata.codecs)


def test_a_shard_holds_at_least_a_quarter_of_a_gigabyte(monkeypatch):
    monkeypatch.undo()
    grid = shards.ShardGrid.of((5000, 512, 512), (100, 512, 512), 2)
    assert (grid.per_shard, grid.index_bytes) == (5, 84)
    assert shards.ShardGrid.of((250, 512, 512), (100, 512, 512), 2).per_shard == 3
    assert shards.ShardGrid.of((99, 9000, 9000), (9, 9000, 9000), 2).per_shard == 1


def test_the_loser_of_two_overwrites_leaves_nothing(tmp_path):
    url = tmp_path / "m.ome.zarr"
    pg.encode(VALUES, url, **OPTIONS)

    def replaced(done, total):
        if done == total:
            pg.encode(VALUES[:40], url, overwrite=True, **OPTIONS)

    with pytest.raises(StoreExistsError, match="somebody else replaced it"):
        pg.encode(VALUES[:20], url, overwrite=True, progress=replaced, **OPTIONS)
    assert len(pg.open(url)) == 40 and [path.name for path in tmp_path.iterdir()] == ["m.ome.zarr"]


def test_a_movie_that_a_killed_overwrite_left_beside_the_name_is_found_and_put_back(tmp_path):
    url = tmp_path / "m.ome.zarr"
    pg.encode(VALUES, url, **OPTIONS)
    url.rename(tmp_path / "m.ome.zarr.new-0123456789ab")
    for look in (pg.open, pg.verify):
        with pytest.raises(StoreNotFoundError, match="new-0123456789ab.*recover"):
            look(url)
    assert pg.recover(url).put_back == "m.ome.zarr.new-0123456789ab"
    assert pg.verify(url, deep=True).ok and [path.name for path in tmp_path.iterdir()] == ["m.ome.zarr"]


@pytest.mark.parametrize("cut", [None, 20])
@pytest.mark.parametrize("names", [["zarr.json"], ["0/zarr.json"], ["0/zarr.json", "zarr.json"]])
def test_damaged_metadata_have_the_names_of_their_files(tmp_path, names, cut):
    url = tmp_path / "m.ome.zarr"
    pg.encode(VALUES, url, layout="plain", **OPTIONS)
    for name in names:
        data = (url / name).read_bytes()
        (url / name).unlink() if cut is None else (url / name).write_bytes(data[:-cut])
    problems = {problem.name: problem for problem in pg.verify(url).problems}
    assert sorted(problems) == names
    assert {problem.kind for problem in problems.values()} == {"unreadable" if cut else "missing"}
    assert all(problem.every_frame for problem in problems.values())
    with pytest.raises(PhotonError, match=r"zarr\.json is not JSON" if cut else f"no {names[-1]}"):
        pg.open(url)


def test_an_altered_number_of_frames_is_a_problem_of_one_file(tmp_path):
    url = tmp_path / "m.ome.zarr"
    pg.encode(VALUES, url, layout="plain", **OPTIONS)
    file = url / "0" / "zarr.json"
    content = json.loads(file.read_text())
    content["shape"][0] = 76
    file.write_text(json.dumps(content))
    (problem,) = pg.verify(url).problems
    assert (problem.kind, problem.name, problem.every_frame) == ("altered", "0/zarr.json", True)
    assert problem.detail.startswith(f"{file.stat().st_size:,} bytes")
