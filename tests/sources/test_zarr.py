"""Zarr arrays, v2 and v3."""

from __future__ import annotations

import itertools
import json
import uuid

import numpy as np
import pytest
import zarr

import photon_gpu as pg
from photon_gpu.errors import (
    CorruptDataError,
    InvalidInputError,
    PhotonWarning,
    StoreNotFoundError,
    UnsupportedTypeError,
)
from photon_gpu.sources.open import open_source
from photon_gpu.sources.zarr import refuse_photon_movie
from tests.support.sources.source_files import make_movie


def save(url, movie, **options):
    options = {"chunks": (5, 12, 16), **options}
    array = zarr.create_array(str(url), shape=movie.shape, dtype=movie.dtype, **options)
    array[...] = movie
    return url


def chunk_files(folder):
    names = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in names)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("form", ["url", "member", "colons", "deep url", "group", "alone"])
@pytest.mark.parametrize("where", ["local", "memory"])
def test_ways_to_name_an_array(tmp_path, movie, zarr_format, form, where):
    root = f"{tmp_path}/a.zarr" if where == "local" else f"memory://{uuid.uuid4().hex}/a.zarr"
    if form == "url":
        save(root, movie, zarr_format=zarr_format)
    else:
        group = zarr.open_group(root, mode="w", zarr_format=zarr_format)
        for name, data in (("deep/movie", movie), ("image", movie[0])):
            group.create_array(name, shape=data.shape, dtype=data.dtype)[...] = data
    location, options = {
        "url": (root, {}),
        "member": (root, {"path": "deep/movie"}),
        "colons": (f"{root}::/deep/movie", {}),
        "deep url": (f"{root}/deep/movie", {}),
        "group": (root, {"path": "deep"}),
        "alone": (root, {}),
    }[form]
    with open_source(location, **options) as source:
        np.testing.assert_array_equal(source.read(3, 8), movie[3:8])


def test_a_folder_of_any_name_that_is_an_array(tmp_path, movie):
    for zarr_format in (2, 3):
        save(tmp_path / f"recording{zarr_format}", movie, zarr_format=zarr_format)
        with open_source(tmp_path / f"recording{zarr_format}") as source:
            np.testing.assert_array_equal(source.read(0, 20), movie)


def test_several_candidates_are_listed(tmp_path, movie):
    root = tmp_path / "a.zarr"
    group = zarr.open_group(str(root), mode="w")
    for name in ("one", "two"):
        group.create_array(name, shape=movie.shape, dtype=movie.dtype)[...] = movie
    with pytest.raises(
        InvalidInputError, match=r"2 arrays could be the movie.*path=.*one int16 \(20, 12, 16\), two int16"
    ):
        open_source(root)
    with pytest.raises(StoreNotFoundError, match="three"):
        open_source(root, path="three")
    zarr.open_group(str(root), mode="w")
    with pytest.raises(InvalidInputError, match="It holds: nothing"):
        open_source(root)


def test_shapes_and_dtypes_are_checked(tmp_path):
    save(tmp_path / "image.zarr", np.ones((4, 5), "uint16"), chunks=(4, 5))
    save(tmp_path / "flags.zarr", np.ones((3, 4, 5), bool), chunks=(3, 4, 5))
    with pytest.raises(InvalidInputError, match="newaxis"):
        open_source(tmp_path / "image.zarr")
    with pytest.raises(UnsupportedTypeError, match="bool"):
        open_source(tmp_path / "flags.zarr")


def test_a_folder_that_holds_nothing(tmp_path):
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(StoreNotFoundError, match="neither a Zarr array nor a group"):
        open_source(tmp_path / "empty.zarr")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_big_endian_becomes_native(tmp_path, movie, zarr_format):
    stored = movie.astype(">i2")
    options = {"serializer": zarr.codecs.BytesCodec(endian="big")} if zarr_format == 3 else {}
    save(tmp_path / "a.zarr", movie if zarr_format == 3 else stored, zarr_format=zarr_format, **options)
    with open_source(tmp_path / "a.zarr") as source:
        assert source.dtype == np.dtype("int16") and source.dtype.isnative
        np.testing.assert_array_equal(source.read(0, 20), movie)


# --- our own movies ---


def plain_movie(tmp_path, **attributes):
    """What the plain layout looks like to Zarr: stabilized float64 and `.zattrs`."""
    path = save(tmp_path / "movie.zarr", make_movie((20, 12, 16), "float64"), zarr_format=2)
    attributes = {"codec_version": "1.0", "codec_name": "photon", "anscombe_gain": 1.0, **attributes}
    (path / ".zattrs").write_text(json.dumps(attributes))
    return path


@pytest.mark.parametrize("version", ["1.0", "1.7", 1.0])
def test_a_photon_movie_is_not_read_as_raw(tmp_path, version):
    path = plain_movie(tmp_path, codec_version=version)
    with pytest.raises(InvalidInputError, match=r"photon movie already.*photon_gpu\.open\(url\)\.counts"):
        open_source(path)
    with pytest.raises(InvalidInputError, match="photon movie already"):
        open_source(zarr.open(str(path)))


def test_a_photon_movie_inside_a_group(tmp_path):
    zarr.open_group(str(tmp_path / "g.zarr"), mode="w", zarr_format=2)
    plain_movie(tmp_path).rename(tmp_path / "g.zarr" / "movie")
    with pytest.raises(InvalidInputError, match="photon movie already"):
        open_source(tmp_path / "g.zarr")


@pytest.mark.parametrize("container", ["folder", "ome-zarr"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_movie_that_is_stored_again_and_again_says_everything_once(tmp_path, container, channels):
    noise = pg.NoiseModel(gain=2.0)
    options = {"noise": noise if channels == 1 else [noise, pg.NoiseModel(gain=4.0)]}
    options |= {"container": container, "layout": "compact", "check": False, "trust_noise": True}
    movie = np.random.default_rng(0).poisson(50, (20, channels, 12, 16)).astype("uint16")
    suffix = ".zarr" if container == "folder" else ".ome.zarr"
    paths = [str(tmp_path / f"{number}{suffix}") for number in range(4)]
    with open_source(movie, axes="tcyx", timestamps=np.arange(20.0)) as source:
        pg.encode(source, paths[0], attributes={"cage": 3}, **options)
    for before, path in itertools.pairwise(paths):
        pg.encode(before, path, **options)
    stored = pg.open(paths[3])
    assert list(stored.source_metadata) == ["zarr/attributes.json"]
    attributes = json.loads(stored.source_metadata["zarr/attributes.json"].data)[""]
    assert attributes["cage"] == 3 and attributes["quantization_step"] == 0.5
    assert not {"photon_movie_id", "photon_format", "predictor"} & set(attributes)
    assert "predictor" not in str(attributes)
    pg.encode(paths[3], tmp_path / f"other{suffix}", attributes={"cage": 4}, **options)
    pg.encode(tmp_path / f"other{suffix}", tmp_path / f"last{suffix}", **options)
    documents = pg.open(tmp_path / f"last{suffix}").source_metadata.values()
    assert [json.loads(one.data)[""]["cage"] for one in documents] == [3, 4]


@pytest.mark.parametrize(
    "attributes",
    [{"codec_name": "other"}, {"codec_version": "2.0"}, {"codec_version": "10.0"}, {"codec_version": None}],
)
def test_other_arrays_with_such_attributes_are_raw(tmp_path, attributes):
    with open_source(plain_movie(tmp_path, **attributes)) as source:
        assert source.shape == (20, 12, 16)
    refuse_photon_movie({}, "no attributes")


# --- damage ---


@pytest.mark.parametrize(
    "options",
    [
        {"zarr_format": 2},
        {"zarr_format": 3},
        {"zarr_format": 2, "compressors": None},
        {"zarr_format": 3, "compressors": None},
        {"zarr_format": 3, "shards": (10, 12, 16)},
    ],
    ids=str,
)
def test_a_chunk_cut_anywhere_is_corrupt(tmp_path, movie, options):
    path = save(tmp_path / "a.zarr", movie, **options)
    file = chunk_files(path)[-1]
    whole = file.read_bytes()
    lengths = {0, 1, 2, 10, len(whole) // 3, len(whole) // 2, len(whole) - 5, len(whole) - 1}
    for length in sorted(lengths):
        file.write_bytes(whole[:length])
        with open_source(path) as source:
            np.testing.assert_array_equal(source.read(0, 10), movie[:10])
            with pytest.raises(CorruptDataError, match=r"a\.zarr"):
                source.read(8, 20)


@pytest.mark.parametrize("shards", [None, (10, 12, 16)])
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("where", ["local", "memory", "member"])
def test_missing_chunks_are_an_error_unless_allowed(tmp_path, movie, zarr_format, shards, where):
    if shards and zarr_format == 2:
        pytest.skip("v2 has no shards")
    root = f"memory://{uuid.uuid4().hex}/a.zarr" if where == "memory" else str(tmp_path / "a.zarr")
    options = {"zarr_format": zarr_format, "fill_value": 3, **({"shards": shards} if shards else {})}
    if where == "member":
        group = zarr.open_group(root, mode="w", zarr_format=zarr_format)
        options.pop("zarr_format")
        array = group.create_array("one", shape=movie.shape, dtype=movie.dtype, chunks=(5, 6, 16), **options)
        other = group.create_array("one2", shape=movie.shape, dtype=movie.dtype, chunks=(5, 6, 16), **options)
        array[...] = other[...] = movie
        root += "::one"
    else:
        array = zarr.create_array(root, shape=movie.shape, dtype=movie.dtype, chunks=(5, 6, 16), **options)
        array[...] = movie
    open_source(root).close()
    movie[5:10, :6] = 3  # empty chunks are not written
    array[...] = movie
    with pytest.raises(
        CorruptDataError,
        match=r"1 of its 8 chunks are missing \(frames 5 to 9\).*missing='zero'.*missing='fill'",
    ):
        open_source(root)
    with pytest.warns(PhotonWarning, match="lacks frames 5 to 9"):
        source = open_source(root, missing="zero")
    assert source.lost == ((5, 10),)
    for source in (source, open_source(root, missing="fill"), open_source(array, missing="fill")):
        with source:
            np.testing.assert_array_equal(source.read(0, 20), movie)
    with pytest.raises(CorruptDataError, match="missing"):
        open_source(array)
    array[5:20] = 3
    with pytest.raises(CorruptDataError, match=r"6 of its 8 chunks are missing \(frames 5 to 19\)"):
        open_source(root)


def test_shards_that_do_not_divide_the_movie(tmp_path, movie):
    path = save(tmp_path / "a.zarr", movie, chunks=(3, 5, 8), shards=(6, 15, 16))
    with open_source(path) as source:
        np.testing.assert_array_equal(source.read(2, 19), movie[2:19])


@pytest.mark.parametrize("zarr_format, name", [(2, ".zarray"), (3, "zarr.json")])
def test_damaged_metadata_are_an_error(tmp_path, movie, zarr_format, name):
    path = save(tmp_path / "a.zarr", movie, zarr_format=zarr_format)
    whole = (path / name).read_bytes()
    for cut in (b"", whole[:20], whole[: len(whole) // 2], b"[]"):
        (path / name).write_bytes(cut)
        with pytest.raises((CorruptDataError, StoreNotFoundError), match=r"a\.zarr"):
            open_source(path)


@pytest.mark.parametrize("zarr_format, name", [(2, ".zarray"), (3, "zarr.json")])
def test_a_codec_that_is_not_installed(tmp_path, movie, zarr_format, name):
    path = save(tmp_path / "a.zarr", movie, zarr_format=zarr_format)
    metadata = json.loads((path / name).read_text())
    if zarr_format == 2:
        metadata["filters"] = [{"id": "no-such-codec"}]
    else:
        metadata["codecs"][-1]["name"] = "no-such-codec"
    (path / name).write_text(json.dumps(metadata))
    with pytest.raises(InvalidInputError, match=r"not installed here.*no-such-codec"):
        open_source(path)


def test_storage_options_for_a_local_path_are_not_needed(tmp_path, movie):
    with open_source(save(tmp_path / "a.zarr", movie), storage_options={"anon": True}) as source:
        assert source.shape == movie.shape
