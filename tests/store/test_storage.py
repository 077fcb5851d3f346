"""One folder of a store: read, write, create once, list, delete, swap."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from fsspec.core import url_to_fs

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.store import durable
from photon_gpu.store.storage import Storage, _reach, read_required
from tests.support.concurrent_calls import at_once


def test_what_is_written_is_read(store):
    assert store.names() == [] and not store.exists("0.0.0")
    for name, data in (("0.0.0", b"one"), (".zarray", b""), ("0.0.0", b"two"), ("10.0.0", bytes(range(256)))):
        store.write(name, data)
        assert store.read(name) == data and store.exists(name)
    assert store.names() == [".zarray", "0.0.0", "10.0.0"]
    assert store.sizes() == {".zarray": 0, "0.0.0": 3, "10.0.0": 256}
    with pytest.raises(FileNotFoundError):
        store.read("1.0.0")


def test_of_two_creates_the_second_fails(store):
    store.create("claim", b"mine")
    with pytest.raises(FileExistsError):
        store.create("claim", b"yours")
    assert store.read("claim") == b"mine"


def test_of_many_who_create_at_once_one_wins(store):
    won = []

    def race(number):
        try:
            store.create("claim", b"%d" % number)
            won.append(number)
        except FileExistsError:
            pass

    at_once(partial(race, number) for number in range(8))
    if store.local:  # fsspec's memory filesystem looks first and writes then
        assert len(won) == 1 and store.read("claim") == b"%d" % won[0]
    assert won


def test_deleting_what_is_not_there_is_fine(store):
    store.delete("nothing")
    store.delete_folder()
    store.write("0.0.0", b"x")
    store.delete("0.0.0")
    assert store.names() == []
    store.write("a", b"x")
    store.delete_folder()
    assert store.names() == [] and (not store.local or not Path(store.root).exists())


def test_a_folder_goes_zarray_first(tmp_path):
    order = []

    class Watched(Storage):
        def delete(self, name):
            order.append(name)
            super().delete(name)

    watched = Watched(Storage.at(tmp_path / "m").fs, str(tmp_path / "m"))
    for name in (".zattrs", "0.0.0", ".zarray", ".manifest.json"):
        watched.write(name, b"x")
    watched.delete_folder()
    assert order[0] == ".zarray" and len(order) == 4


def test_siblings_lie_beside_and_nobody_has_them(store):
    names = {store.sibling("new").root for _ in range(20)}
    assert len(names) == 20 and all(name.startswith(store.root + ".new-") for name in names)


def test_data_files_take_the_write_options_and_metadata_do_not(tmp_path):
    arrived = {}

    class Recording:
        protocol = "memory"

        def pipe_file(self, path, data, **options):
            arrived[path] = options

    storage = Storage(Recording(), "bucket/m", write_options={"StorageClass": "GLACIER_IR"})
    for name in ("0.0.0", ".zarray", ".manifest.json"):
        storage.write(name, b"x")
    assert arrived == {
        "bucket/m/0.0.0": {"StorageClass": "GLACIER_IR"},
        "bucket/m/.zarray": {},
        "bucket/m/.manifest.json": {},
    }


@pytest.mark.parametrize("url", ["", "  ", b"bytes", "memory://", "nonsense://x/y", "/"])
def test_what_is_no_place_is_refused(url):
    with pytest.raises(InvalidInputError):
        Storage.at(url)


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    import sys

    from fsspec.registry import _registry

    monkeypatch.setitem(sys.modules, "gcsfs", None)
    for scheme in ("gs", "gcs"):  # as in a process that has not loaded it yet
        monkeypatch.delitem(_registry, scheme, raising=False)
    with pytest.raises(InvalidInputError, match=r"photon-gpu\[gcs\]"):
        Storage.at("gs://bucket/m.zarr")


def test_places_are_paths_urls_or_storages(tmp_path):
    store = Storage.at(tmp_path / "a")
    assert Storage.at(store) is store and store.local and store.url == str(tmp_path / "a")
    assert Storage.at(str(tmp_path / "a") + "/").root == store.root
    assert Storage.at(f"file://{tmp_path}/a").root == store.root
    memory = Storage.at("memory://x/a.zarr")
    assert not memory.local and memory.url.startswith("memory://")


@pytest.mark.parametrize(
    "url",
    ["http://lab:hunter2@host/m.zarr", "https://host/m.zarr?X-Amz-Signature=hunter2", "s3://key:hunter2@b/m"],
)
def test_what_a_place_is_called_tells_no_secret(url):
    pytest.importorskip("s3fs")  # which brings aiohttp, too
    store = Storage.at(url)
    assert "hunter2" not in store.url and "***" in store.url and "hunter2" in store.root
    with pytest.raises(InvalidInputError) as caught:
        Storage.at("nonsense://key:hunter2@b/m")
    assert "hunter2" not in str(caught.value)


def test_a_required_file_names_itself_when_it_is_missing(store):
    store.write("there", b"x")
    assert read_required(store, "there", "nothing") == b"x"
    with pytest.raises(CorruptDataError, match=r"3\.0\.0 is missing \(frames 30 to 39\)"):
        read_required(store, "3.0.0", "frames 30 to 39")


def test_names_of_a_disk_are_those_that_fsspec_finds(tmp_path):
    """Nested folders, links to a file and to a folder, which is not followed; partial files are left out."""
    root, elsewhere = tmp_path / "m.zarr", tmp_path / "elsewhere"
    for folder in (root / "deep" / "deeper", root / "empty", elsewhere):
        folder.mkdir(parents=True)
    places = (root / ".zarray", root / "0.0.0", root / "deep" / "1.0.0", root / "deep" / "deeper" / "x")
    for path in (
        *places,
        elsewhere / "unseen",
        root / f"{durable.PARTIAL}0123456789ab",
        root / "deep" / f"{durable.PARTIAL}ffffffffffff",
    ):
        path.write_bytes(b"x")
    (root / "a link").symlink_to(elsewhere / "unseen")
    (root / "linked").symlink_to(elsewhere, target_is_directory=True)
    store = Storage.at(root)
    result = [os.path.relpath(path, root) for path in store.fs.find(str(root))]
    assert store.names() == sorted(name for name in result if durable.PARTIAL not in name)
    assert {"deep/deeper/x", "linked", "a link"} <= set(store.names()) and len(store.names()) == 6
    assert Storage.at(root / "nowhere").names() == Storage.at(root / "0.0.0").names() == []


@pytest.mark.parametrize("url", ["m.zarr", "./m.zarr/", "~/m.zarr", "a b/ä#?.zarr", "file:m.zarr", "/"])
def test_a_plain_path_is_reached_as_fsspec_reaches_it(url):
    fs, root = url_to_fs(url)
    result, path = _reach(url, {})
    assert result is fs and path == root
