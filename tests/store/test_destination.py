"""Where a movie may go, and that failing and interrupted writers leave no trace."""

import os
import re
import stat
from pathlib import PureWindowsPath
from types import SimpleNamespace

import fsspec.implementations.local
import numpy as np
import pytest
import zarr

import photon_gpu as pg
from photon_gpu.cluster.encode_many import encode_many
from photon_gpu.engine.codec import blosc
from photon_gpu.errors import InvalidInputError, StoreExistsError
from photon_gpu.reader.export import export
from photon_gpu.store import durable
from photon_gpu.store.claim import Claim
from photon_gpu.store.destination import destination
from photon_gpu.store.storage import Storage

MOVIE = np.random.default_rng(0).poisson(9, (6, 4, 4)).astype("uint16")


def paths(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["raw.tif", "sub/0.0.0", ".bashrc", "zarr.json", "0.0.0.tif", "c/0/0/0"])
def test_overwriting_spares_a_folder_with_anything_else_in_it(name, tmp_path):
    pg.encode(MOVIE, tmp_path / "m.zarr", noise=pg.NoiseModel())
    extra = tmp_path / "m.zarr" / name
    extra.parent.mkdir(parents=True, exist_ok=True)
    extra.write_text("precious")
    before = paths(tmp_path)
    with pytest.raises(StoreExistsError, match="only movies are replaced"):
        pg.encode(MOVIE, tmp_path / "m.zarr", overwrite=True, noise=pg.NoiseModel())
    assert paths(tmp_path) == before


def test_overwriting_replaces_movies_exports_and_what_a_killed_writer_left(tmp_path):
    pg.encode(MOVIE, tmp_path / "movie.zarr", noise=pg.NoiseModel())
    export(pg.open(tmp_path / "movie.zarr"), tmp_path / "exported.zarr")
    killed = {
        ".photon-writing": b'{"token": "0123", "pid": 1, "host": "another"}',
        "0.0.0": blosc.compress(MOVIE, blosc.Compressor()),
        "12.0.0": blosc.compress(MOVIE, blosc.Compressor()),
    }
    for remains, files in {"killed": killed, "at once": {".photon-writing": b""}}.items():
        (tmp_path / f"{remains}.zarr").mkdir()
        for name, content in files.items():
            (tmp_path / f"{remains}.zarr" / name).write_bytes(content)
    documented = tmp_path / "documented.zarr"
    pg.encode(MOVIE, documented, chunk_frames=2, noise=pg.NoiseModel())
    (documented / ".manifest.json").unlink()
    for name in ("movie", "exported", "killed", "at once", "documented"):
        pg.encode(MOVIE + 1, tmp_path / f"{name}.zarr", layout="lossless", overwrite=True)
        assert (pg.open(tmp_path / f"{name}.zarr").counts[...] == MOVIE + 1).all()


@pytest.mark.parametrize("inside", ["", "::/"])
def test_a_movie_is_not_written_over_its_source(inside, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zarr.create_array("raw.zarr", shape=MOVIE.shape, dtype="u2", zarr_format=2)[...] = MOVIE
    os.symlink("raw.zarr", "link.zarr")
    for url in ("raw.zarr", tmp_path / "raw.zarr", "./x/../raw.zarr", "link.zarr"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(InvalidInputError, match="the movie that is read"):
            pg.encode("raw.zarr" + inside, url, overwrite=True, noise=pg.NoiseModel())
    assert (zarr.open("raw.zarr", mode="r")[...] == MOVIE).all()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("kept")
    for url in (tmp_path / "file", tmp_path / "file" / "deep" / "m.zarr"):
        with pytest.raises(StoreExistsError, match="file is a file"):
            pg.encode(MOVIE, url, overwrite=True, noise=pg.NoiseModel())
    assert paths(tmp_path) == ["file"]


def test_folders_made_in_vain_are_removed_and_others_stay(tmp_path):
    (tmp_path / "there").mkdir()
    bad = MOVIE.astype("float32")
    bad[5, 1, 1] = np.nan
    with pytest.raises(InvalidInputError):
        pg.encode(bad, tmp_path / "there" / "a" / "b" / "m.zarr", noise=pg.NoiseModel())
    assert paths(tmp_path) == ["there"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_where_nothing_may_be_written_nothing_is(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(PermissionError):
        pg.encode(MOVIE, tmp_path / "a" / "m.zarr", noise=pg.NoiseModel())
    tmp_path.chmod(stat.S_IRWXU)
    assert paths(tmp_path) == []


class Interrupted(Storage):
    """The user presses Ctrl-C within the n-th call to the store."""

    calls = 0

    def _press(self, call):
        self.calls -= 1
        if self.calls == 0:
            raise KeyboardInterrupt
        return call()

    def create(self, name, data, **options):
        self._press(lambda: None)
        super().create(name, data)
        self._press(lambda: None)

    def names(self):
        return self._press(super().names)


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_an_interrupt_while_a_place_is_taken_leaves_nothing(at, tmp_path):
    storage = Storage.at(tmp_path / "new" / "m.zarr")
    store = Interrupted(storage.fs, storage.root)
    store.calls = at
    with pytest.raises(KeyboardInterrupt), Claim(store, overwrite=False):
        pass
    assert paths(tmp_path) == []


def test_an_interrupt_within_the_making_of_the_marker_leaves_nothing(tmp_path):
    storage = Storage.at(tmp_path / "m.zarr")

    class Halfway(Storage):
        def create(self, name, data, **options):
            super().create(name, data[:7])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Claim(Halfway(storage.fs, storage.root), overwrite=False):
        pass
    assert paths(tmp_path) == []


def test_an_interrupt_leaves_another_writers_marker(tmp_path):
    storage = Storage.at(tmp_path / "m.zarr")

    class Late(Storage):
        def create(self, name, data, **options):
            super().create(name, b'{"pid": 1}')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Claim(Late(storage.fs, storage.root), overwrite=False):
        pass
    assert paths(tmp_path) == ["m.zarr", "m.zarr/.photon-writing"]


def test_sizes_are_those_of_the_files(tmp_path):
    pg.encode(MOVIE, tmp_path / "m.zarr", chunk_frames=2, noise=pg.NoiseModel())
    sizes = Storage.at(tmp_path / "m.zarr").sizes()
    assert sizes == {path.name: path.stat().st_size for path in (tmp_path / "m.zarr").iterdir()}
    assert pg.open(tmp_path / "m.zarr").stored_bytes == sum(sizes.values())
    assert Storage.at(tmp_path / "none.zarr").sizes() == {}


@pytest.mark.parametrize(
    "name",
    ["x.tif", "x.TIFF", "x.btf", "x.npy", "x.npz", "x.h5/", "x.hdf5", "x.nwb", "m.zarr::0", "zip://m::x.zip"],
)
def test_a_destination_that_names_a_file_or_what_is_inside_of_one_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for write in (
        lambda: pg.encode(MOVIE, name, noise=pg.NoiseModel()),
        lambda: pg.encode(MOVIE, name, overwrite=True, noise=pg.NoiseModel()),
        lambda: pg.LiveWriter(name, frame_shape=(4, 4), dtype="uint16", noise=pg.NoiseModel()),
        lambda: encode_many([MOVIE], [name]),
    ):
        with pytest.raises(InvalidInputError, match="inside a file|name of a file"):
            write()
    assert paths(tmp_path) == []


@pytest.fixture
def windows(monkeypatch):
    """Paths as fsspec and photon_gpu take them on Windows."""
    monkeypatch.setattr(durable, "WINDOWS", True)
    monkeypatch.setattr(fsspec.implementations.local, "os", SimpleNamespace(**{**vars(os), "sep": "\\"}))


@pytest.mark.parametrize(
    ("name", "root"),
    [
        ("D:\\lab\\m.zarr", "D:/lab/m.zarr"),
        ("D:/lab/m.zarr/", "D:/lab/m.zarr"),
        ("\\\\server\\share\\lab\\m.zarr", "//server/share/lab/m.zarr"),
        ("//server/share/m.zarr", "//server/share/m.zarr"),
        ("\\\\server\\share\\..\\con1\\com.zarr", "//server/share/../con1/com.zarr"),
    ],
)
def test_drives_and_shares_of_windows(windows, name, root):
    assert destination(name).root == root
    assert PureWindowsPath(destination(name).path("0.0.0")) == PureWindowsPath(root) / "0.0.0"
    assert PureWindowsPath(destination(name).sibling("new").root).parent == PureWindowsPath(root).parent


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("D:\\", "a drive or a share"),
        ("\\\\server\\share", "a drive or a share"),
        ("D:\\lab\\NUL.zarr", "'NUL.zarr' is a device of Windows"),
        ("D:\\con\\m.zarr", "'con' is a device of Windows"),
        ("\\\\server\\share\\Aux .x\\m.zarr", "'Aux .x' is a device of Windows"),
        ("D:\\lab\\m.zarr.", "'m.zarr.' is 'm.zarr' to Windows"),
        ("D:\\lab \\m.zarr", "'lab ' is 'lab' to Windows"),
        ("D:\\lab\\m.zarr:x", "'m.zarr:x' is a stream of another file"),
        ("D:\\lab\\x.tif\\", "is the name of a file"),
    ],
)
def test_names_that_stand_for_something_else_on_windows(windows, name, says, monkeypatch):
    for write in (
        lambda: pg.encode(MOVIE, name, noise=pg.NoiseModel()),
        lambda: pg.LiveWriter(name, frame_shape=(4, 4), dtype="uint16", noise=pg.NoiseModel()),
        lambda: encode_many([MOVIE], [name]),
    ):
        with pytest.raises(InvalidInputError, match=re.escape(says)):
            write()
    monkeypatch.undo()
    assert destination("nul.zarr").root.endswith("/nul.zarr")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_to_a_folder_stays_a_link_and_the_report_says_where_the_movie_is(overwrite, tmp_path):
    real, link = tmp_path / "disk2" / "real.zarr", tmp_path / "m.zarr"
    real.mkdir(parents=True)
    link.symlink_to(real)
    if overwrite:
        pg.encode(MOVIE + 1, real, noise=pg.NoiseModel())
    report = pg.encode(MOVIE, link, layout="lossless", overwrite=overwrite)
    assert any("symbolic link" in note and str(real) in note for note in report.notes)
    assert link.is_symlink() and (pg.open(real).counts[...] == MOVIE).all()
    assert [path.name for path in real.parent.iterdir()] == ["real.zarr"]


def test_a_link_that_leads_nowhere_is_refused(tmp_path):
    (tmp_path / "m.zarr").symlink_to(tmp_path / "unmounted" / "m.zarr")
    for overwrite in (False, True):
        with pytest.raises(StoreExistsError, match="symbolic link to .* is its disk mounted"):
            pg.encode(MOVIE, tmp_path / "m.zarr", overwrite=overwrite, noise=pg.NoiseModel())
    assert paths(tmp_path) == ["m.zarr"]


def test_a_file_that_is_exported_to_a_link_is_where_the_link_leads(tmp_path):
    pg.encode(MOVIE, tmp_path / "m.zarr", layout="lossless")
    (tmp_path / "real.npy").write_bytes(b"old")
    (tmp_path / "link.npy").symlink_to(tmp_path / "real.npy")
    report = export(pg.open(tmp_path / "m.zarr"), tmp_path / "link.npy", overwrite=True)
    assert (tmp_path / "link.npy").is_symlink() and report.url == str(tmp_path / "real.npy")
    assert (np.load(tmp_path / "real.npy") == MOVIE).all()


def test_a_movie_is_not_exported_over_itself_through_a_link(tmp_path):
    pg.encode(MOVIE, tmp_path / "m.zarr", layout="lossless")
    (tmp_path / "link.zarr").symlink_to(tmp_path / "m.zarr")
    with pytest.raises(InvalidInputError, match="the movie that is read"):
        export(pg.open(tmp_path / "m.zarr"), tmp_path / "link.zarr", overwrite=True)
    assert (pg.open(tmp_path / "m.zarr").counts[...] == MOVIE).all()
