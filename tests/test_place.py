"""Where a movie may go, and that failing and interrupted writers leave no trace."""

import os
import stat

import numpy as np
import pytest
import zarr

import photon_gpu as pg
from photon_gpu.claim import Claim
from photon_gpu.errors import InvalidInputError, StoreExistsError
from photon_gpu.storage import Storage

MOVIE = np.random.default_rng(0).poisson(9, (6, 4, 4)).astype("uint16")


def paths(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["raw.tif", "sub/0.0.0", ".bashrc", "zarr.json", "0.0.0.tif", "c/0/0/0"])
def test_overwriting_spares_a_folder_with_anything_else_in_it(name, tmp_path):
    pg.encode(MOVIE, tmp_path / "m.zarr")
    extra = tmp_path / "m.zarr" / name
    extra.parent.mkdir(parents=True, exist_ok=True)
    extra.write_text("precious")
    before = paths(tmp_path)
    with pytest.raises(StoreExistsError, match="only movies are replaced"):
        pg.encode(MOVIE, tmp_path / "m.zarr", overwrite=True)
    assert paths(tmp_path) == before


def test_overwriting_replaces_movies_arrays_and_what_a_killed_writer_left(tmp_path):
    pg.encode(MOVIE, tmp_path / "movie.zarr")
    zarr.create_array(tmp_path / "array.zarr", shape=MOVIE.shape, dtype="u2", zarr_format=2)[...] = MOVIE
    (tmp_path / "killed.zarr").mkdir()
    for name in (".photon-writing", "0.0.0", "12.0.0.0"):
        (tmp_path / "killed.zarr" / name).write_bytes(b"x")
    for name in ("movie", "array", "killed"):
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
            pg.encode("raw.zarr" + inside, url, overwrite=True)
    assert (zarr.open("raw.zarr", mode="r")[...] == MOVIE).all()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("kept")
    for url in (tmp_path / "file", tmp_path / "file" / "deep" / "m.zarr"):
        with pytest.raises(StoreExistsError, match="file is a file"):
            pg.encode(MOVIE, url, overwrite=True)
    assert paths(tmp_path) == ["file"]


def test_folders_made_in_vain_are_removed_and_others_stay(tmp_path):
    (tmp_path / "there").mkdir()
    bad = MOVIE.astype("float32")
    bad[5, 1, 1] = np.nan
    with pytest.raises(InvalidInputError):
        pg.encode(bad, tmp_path / "there" / "a" / "b" / "m.zarr")
    assert paths(tmp_path) == ["there"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_where_nothing_may_be_written_nothing_is(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(PermissionError):
        pg.encode(MOVIE, tmp_path / "a" / "m.zarr")
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
    place = Storage.at(tmp_path / "new" / "m.zarr")
    store = Interrupted(place.fs, place.root)
    store.calls = at
    with pytest.raises(KeyboardInterrupt), Claim(store, overwrite=False):
        pass
    assert paths(tmp_path) == []


def test_an_interrupt_within_the_making_of_the_marker_leaves_nothing(tmp_path):
    place = Storage.at(tmp_path / "m.zarr")

    class Halfway(Storage):
        def create(self, name, data, **options):
            super().create(name, data[:7])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Claim(Halfway(place.fs, place.root), overwrite=False):
        pass
    assert paths(tmp_path) == []


def test_an_interrupt_leaves_another_writers_marker(tmp_path):
    place = Storage.at(tmp_path / "m.zarr")

    class Late(Storage):
        def create(self, name, data, **options):
            super().create(name, b'{"pid": 1}')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Claim(Late(place.fs, place.root), overwrite=False):
        pass
    assert paths(tmp_path) == ["m.zarr", "m.zarr/.photon-writing"]


def test_sizes_are_those_of_the_files(tmp_path):
    pg.encode(MOVIE, tmp_path / "m.zarr", chunk_frames=2)
    sizes = Storage.at(tmp_path / "m.zarr").sizes()
    assert sizes == {path.name: path.stat().st_size for path in (tmp_path / "m.zarr").iterdir()}
    assert pg.open(tmp_path / "m.zarr").stored_bytes == sum(sizes.values())
    assert Storage.at(tmp_path / "none.zarr").sizes() == {}
