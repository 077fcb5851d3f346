"""HDF5 datasets."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning, UnsupportedTypeError
from photon_gpu.sources.hdf5.reader import Hdf5Source
from photon_gpu.sources.open import open_source
from tests.support.sources.source_files import make_movie


@pytest.fixture
def path(tmp_path):
    return tmp_path / "movie.h5"


def save(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name] = data
    return path


@pytest.mark.parametrize("form", ["option", "colons", "group", "group with colons", "alone"])
def test_ways_to_name_a_dataset(path, movie, form):
    save(path, **{"/data/movie": movie, "/data/rate": 30.0, "/image": movie[0]})
    location, options = {
        "option": (path, {"dataset": "/data/movie"}),
        "colons": (f"{path}::/data/movie", {}),
        "group": (path, {"dataset": "data"}),
        "group with colons": (f"{path}::data", {}),
        "alone": (path, {}),
    }[form]
    with open_source(location, **options) as source:
        assert source.name == f"{path}::/data/movie"
        np.testing.assert_array_equal(source.read(3, 8), movie[3:8])


def test_several_candidates_are_listed(path, movie):
    save(path, **{"/a/one": movie, "/b/two": movie.astype("f4"), "/rate": 30.0})
    with pytest.raises(
        InvalidInputError,
        match=r"2 arrays could be the movie.*dataset=.*/a/one int16 \(20, 12, 16\), /b/two float32",
    ):
        open_source(path)
    with pytest.raises(InvalidInputError, match=r"no dataset '/c'.*/a/one"):
        open_source(path, dataset="/c")
    with open_source(path, dataset="b") as source:
        assert source.dtype == np.float32


def test_a_file_without_a_movie(path):
    save(path, image=np.zeros((4, 5)), flags=np.zeros((3, 4, 5), bool))
    with pytest.raises(InvalidInputError, match=r"none of its arrays is a movie.*flags bool.*image float64"):
        open_source(path)
    with pytest.raises(InvalidInputError, match="newaxis"):
        open_source(path, dataset="image")
    with pytest.raises(UnsupportedTypeError, match="bool"):
        open_source(path, dataset="flags")
    with h5py.File(path, "w"):
        pass
    with pytest.raises(InvalidInputError, match="It holds: nothing"):
        open_source(path)


@pytest.mark.parametrize("dtype", ["str", "empty", "struct", "vlen", "complex"])
def test_datasets_that_are_no_numbers(path, dtype):
    with h5py.File(path, "w") as file:
        if dtype == "str":
            file["x"] = "text"
        elif dtype == "empty":
            file["x"] = h5py.Empty("f4")
        elif dtype == "struct":
            file["x"] = np.zeros((2, 3, 4), [("a", "u2")])
        elif dtype == "vlen":
            file.create_dataset("x", (2, 3, 4), dtype=h5py.vlen_dtype("u2"), fillvalue=None)
        else:
            file["x"] = np.zeros((2, 3, 4), "c8")
    with pytest.raises((InvalidInputError, UnsupportedTypeError)):
        open_source(path, dataset="x")


@pytest.mark.parametrize("dtype", [">i2", "<i2", ">u4", ">f8", "u1"])
def test_any_byte_order_is_read_as_native(path, movie, dtype):
    stored = np.abs(movie).astype(dtype)
    with open_source(save(path, movie=stored)) as source:
        frames = source.read(0, 20)
        assert frames.dtype.isnative
        np.testing.assert_array_equal(frames, stored)


def test_an_enumeration_reads_as_its_numbers(path):
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "x", data=np.ones((2, 3, 4), "i2"), dtype=h5py.enum_dtype({"A": 1}, basetype="i2")
        )
    with open_source(path) as source:
        assert source.dtype == np.dtype("int16") and source.read(0, 1).max() == 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (2, 6, 8)},
        {"chunks": (2, 6, 8), "compression": "gzip"},
        {"chunks": (2, 6, 8), "fletcher32": True},
    ],
    ids=str,
)
def test_cut_anywhere_it_is_corrupt_or_exactly_right(path, options):
    movie = make_movie((5, 6, 8))
    with h5py.File(path, "w") as file:
        file.create_dataset("movie", data=movie, **options)
    whole = path.stat().st_size
    refused = 0
    for length in range(whole - 1, 0, -7):
        os.truncate(path, length)
        try:
            with open_source(path, dataset="movie") as source:
                frames = source.read(0, 5)
        except CorruptDataError:
            refused += 1
        else:
            np.testing.assert_array_equal(frames, movie)
    assert refused > whole / 7 * 0.9


def test_a_flipped_byte_under_a_checksum(path):
    movie = make_movie((4, 16, 16))
    with h5py.File(path, "w") as file:
        data = file.create_dataset("movie", data=movie, chunks=(2, 16, 16), fletcher32=True)
        offset = data.id.get_chunk_info(1).byte_offset
    data = bytearray(path.read_bytes())
    data[offset + 11] ^= 4
    path.write_bytes(data)
    with open_source(path) as source:
        np.testing.assert_array_equal(source.read(0, 2), movie[:2])
        with pytest.raises(CorruptDataError, match="frames 1:4 cannot be read"):
            source.read(1, 4)


def test_chunks_never_written_are_an_error_unless_allowed(path, movie):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("movie", (20, 12, 16), "int16", chunks=(3, 6, 16), fillvalue=-1)
        data[:12] = movie[:12]
        data[15:, 6:] = movie[15:, 6:]
        file.create_dataset("plain", (20, 12, 16), "int16")
    what = r"4 of its 14 chunks were never written \(frames 12 to 19\).*missing='zero'.*missing='fill'"
    with pytest.raises(CorruptDataError, match=what):
        open_source(path, dataset="movie")
    with pytest.raises(CorruptDataError, match=r"none of its data was ever written \(frames 0 to 19\)"):
        open_source(path, dataset="plain")
    expected = movie.copy()
    expected[12:15] = -1
    expected[15:, :6] = -1
    with pytest.warns(PhotonWarning, match="lacks frames 12 to 19"):
        source = open_source(path, dataset="movie", missing="zero")
    for source in (source, open_source(path, dataset="movie", missing="fill")):
        with source:
            np.testing.assert_array_equal(source.read(0, 20), expected)
    with h5py.File(path) as file:
        with pytest.raises(CorruptDataError, match="never written"):
            open_source(file["movie"])
        with pytest.warns(PhotonWarning):
            assert open_source(file["movie"], missing="zero").lost == ((12, 20),)
        assert open_source(file["movie"], missing="fill").lost == ()
        with pytest.raises(InvalidInputError, match="takes only .*missing"):
            open_source(file["movie"], dataset="movie")


@pytest.fixture
def parts(tmp_path):
    """Eight frames, four in each of two files."""
    movie = make_movie((8, 6, 7))
    for number in range(2):
        save(tmp_path / f"part{number}.h5", movie=movie[4 * number : 4 * number + 4])
    return movie


def virtual(path, *mapped, shape=(8, 6, 7), **options):
    """Map slices of frames to datasets; ``mapped``: frames of the movie, file, frames of its dataset."""
    layout = h5py.VirtualLayout(shape, "i2", **options)
    for frames, name, inside in mapped:
        part = h5py.VirtualSource(name, "movie", (4, 6, 7))
        layout[frames] = part if inside is None else part[inside]
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("movie", layout, fillvalue=0)


def test_a_virtual_dataset_whose_parts_are_missing(tmp_path, path, parts):
    virtual(path, (np.s_[:4], "part0.h5", None), (np.s_[4:], "part1.h5", None))
    with open_source(path) as source:
        np.testing.assert_array_equal(source.read(0, 8), parts)

    def refused(match, lost=((4, 8),)):
        with pytest.raises(CorruptDataError, match=match) as caught:
            open_source(path)
        assert len(str(caught.value).replace(str(path), "")) <= 300
        with pytest.warns(PhotonWarning), open_source(path, missing="zero") as source:
            assert source.lost == lost
            np.testing.assert_array_equal(source.read(0, 4), parts[:4])

    (tmp_path / "part1.h5").unlink()
    refused(r"'part1\.h5' does not exist \(frames 4 to 7\)")
    (tmp_path / "part1.h5").write_bytes(b"no HDF5")
    refused(r"'part1\.h5' cannot be opened")
    save(tmp_path / "part1.h5", other=parts[4:])
    refused(r"'part1\.h5' has no dataset 'movie'")
    save(tmp_path / "part1.h5", movie=parts[4:7])
    refused(r"'movie' of 'part1\.h5' has shape \(3, 6, 7\), less than is mapped")
    with h5py.File(tmp_path / "part1.h5", "w") as file:
        file.create_dataset("movie", (4, 6, 7), "i2", chunks=(1, 6, 7))[:3] = parts[4:7]
    refused(r"'part1\.h5': 1 of its 4 chunks were never written \(frames 7\)", lost=((7, 8),))


def test_a_virtual_dataset_that_is_mapped_in_part(path, parts):
    virtual(path, (np.s_[:4], "part0.h5", None), (np.s_[5:7], "part1.h5", np.s_[1:3]))
    with pytest.raises(CorruptDataError, match=r"not mapped to any dataset \(frames 4, 7\)"):
        open_source(path)
    with pytest.warns(PhotonWarning), open_source(path, missing="zero") as source:
        assert source.lost == ((4, 5), (7, 8))
        parts[[4, 7]] = 0
        np.testing.assert_array_equal(source.read(0, 8), parts)


@pytest.mark.parametrize("whole", [True, False])
def test_frames_that_are_mapped_in_pieces(path, parts, whole):
    mapped = [(np.s_[:4], "part0.h5", None), (np.s_[4:8, :3], "part1.h5", np.s_[:, :3])]
    mapped += [(np.s_[4:8, 3:, :2], "part1.h5", np.s_[:, 3:, :2])]
    mapped += [(np.s_[4 : 8 if whole else 7, 3:, 2:], "part1.h5", np.s_[: 4 if whole else 3, 3:, 2:])]
    virtual(path, *mapped)
    if whole:
        with open_source(path) as source:
            np.testing.assert_array_equal(source.read(0, 8), parts)
        return
    with pytest.raises(CorruptDataError, match=r"not mapped to any dataset \(frames 7\)"):
        open_source(path)


def test_a_virtual_dataset_of_virtual_datasets(tmp_path, path, parts):
    virtual(tmp_path / "inner.h5", (np.s_[:2], "part0.h5", np.s_[:2]), shape=(4, 6, 7))
    virtual(path, (np.s_[:4], "inner.h5", None), (np.s_[4:], "part1.h5", None))
    with pytest.raises(CorruptDataError, match=r"'inner\.h5': parts of it are not mapped.*\(frames 2 to 3\)"):
        open_source(path)


def test_a_virtual_dataset_without_bounds_is_taken_as_it_is_only_if_asked(path, parts):
    layout = h5py.VirtualLayout((8, 6, 7), "i2", maxshape=(None, 6, 7))
    end = h5py.h5s.UNLIMITED
    layout[0:end] = h5py.VirtualSource("part0.h5", "movie", (4, 6, 7), maxshape=(None, 6, 7))[0:end]
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("movie", layout, fillvalue=0)
    for missing in ("error", "zero"):
        with pytest.raises(InvalidInputError, match=r"without bounds.*missing='fill'"):
            open_source(path, missing=missing)
    with open_source(path, missing="fill") as source:
        np.testing.assert_array_equal(source.read(0, 4), parts[:4])


def test_an_external_file_that_is_too_short(tmp_path, path, movie):
    raw = tmp_path / "raw.bin"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "movie", movie.shape, movie.dtype, external=[(str(raw), 100, h5py.h5f.UNLIMITED)]
        )[...] = movie
    with open_source(path) as source:
        np.testing.assert_array_equal(source.read(0, 20), movie)
    os.truncate(raw, 100 + movie.nbytes - 1)
    with pytest.raises(CorruptDataError, match="truncated: 7780 bytes are needed, it has 7779"):
        open_source(path)


@pytest.mark.parametrize("missing", ["error", "zero", "fill"])
def test_an_absent_external_file_is_refused_at_open(tmp_path, path, movie, missing):
    raw = tmp_path / "raw.bin"
    with h5py.File(path, "w") as file:
        file.create_dataset("movie", movie.shape, movie.dtype, external=[(str(raw), 0, movie.nbytes)])
    with pytest.raises(CorruptDataError, match=r"external file '.*raw\.bin', absent: copy it there"):
        open_source(path, missing=missing)


def test_a_relative_external_file_is_in_the_working_folder_or_the_prefix(tmp_path, path, movie, monkeypatch):
    monkeypatch.delenv("HDF5_EXTFILE_PREFIX", raising=False)
    monkeypatch.chdir(tmp_path)
    with h5py.File(path, "w") as file:
        external = [("raw.bin", 0, movie.nbytes)]
        file.create_dataset("movie", movie.shape, movie.dtype, external=external)[...] = movie
    with open_source(path) as source:
        np.testing.assert_array_equal(source.read(0, 20), movie)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(CorruptDataError, match="absent: run in the folder that has it, or set HDF5_EXTFILE"):
        open_source(path)
    # HDF5 reads the variable when it starts, so another process has to look.
    opening = f"from photon_gpu.sources.open import open_source; movie = open_source({str(path)!r})"
    code = f"{opening}; print(movie.read(0, 20).sum())"
    for prefix in (str(tmp_path), "${ORIGIN}"):
        environment = {**os.environ, "HDF5_EXTFILE_PREFIX": prefix}
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert int(result.stdout) == movie.sum(), result.stderr


def test_an_absent_external_file_of_a_virtual_dataset_is_refused(tmp_path, path, movie):
    raw = tmp_path / "raw.bin"
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file.create_dataset("movie", movie.shape, movie.dtype, external=[(str(raw), 0, movie.nbytes)])
    layout = h5py.VirtualLayout(movie.shape, movie.dtype)
    layout[:] = h5py.VirtualSource("part.h5", "movie", movie.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("movie", layout)
    with pytest.raises(CorruptDataError, match=r"part\.h5::/movie: .*raw\.bin', absent"):
        open_source(path)


def test_a_file_being_written_is_refused(path, movie):
    with h5py.File(path, "w") as file:
        file["movie"] = movie
        file.flush()
        # The same process shares its handle, so another one has to look.
        code = f"from photon_gpu.sources.open import open_source; open_source({str(path)!r})"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode != 0
    assert "another program has the file open for writing" in result.stderr


def test_a_dataset_handed_in_stays_open(path, movie):
    save(path, movie=movie)
    with h5py.File(path) as file:
        source = open_source(file["movie"])
        np.testing.assert_array_equal(source.read(0, 2), movie[:2])
        source.close()
        assert file["movie"].shape == movie.shape
        source = open_source(file["movie"])
    with pytest.raises(InvalidInputError, match="closed"):
        source.read(0, 2)


def test_chunks_of_a_virtual_dataset_that_hold_many_frames_are_decoded_once(tmp_path, path, monkeypatch):
    values = make_movie((75, 6, 7), "int16")
    layout = h5py.VirtualLayout(values.shape, "i2")
    for number in range(3):  # chunks of 10 frames in files of 25; 2 frames at the start are not mapped
        name = tmp_path / f"part{number}.h5"
        with h5py.File(name, "w") as file:
            own = np.concatenate([np.zeros((2, 6, 7), "i2"), values[25 * number : 25 * number + 25]])
            file.create_dataset("data", data=own, chunks=(10, 3, 7), compression="gzip")
        layout[25 * number : 25 * number + 25] = h5py.VirtualSource(name.name, "data", (27, 6, 7))[2:]
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("movie", layout)
    read: list[tuple[int, int]] = []
    whole = Hdf5Source._read_stored

    def counted(self, box):
        read.append((box[0].start, box[0].stop))
        return whole(self, box)

    monkeypatch.setattr(Hdf5Source, "_read_stored", counted)
    with open_source(path) as source:
        actual = np.concatenate([source.read(start, start + 5) for start in range(0, 75, 5)])
    np.testing.assert_array_equal(actual, values)
    edges = [0, 8, 18, 25, 33, 43, 50, 58, 68, 75]
    assert sorted(set(read)) == list(itertools.pairwise(edges)) and len(read) == len(set(read))
