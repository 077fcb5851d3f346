"""The documented behaviour, sentence by sentence, on every kind of store."""

from __future__ import annotations

import datetime
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.dj import stores
from photon_gpu.errors import InvalidInputError, NoiseContradictionError, PhotonWarning, UnsupportedTypeError
from tests.support.dj.movies import RECORDING, check_rows, decoded, files, poisson
from tests.support.dj.tables import declare

SERVICES = ["file", "seaweed", "moto", "gcs"]
COMPACT = RECORDING.replace("photon@", "photon_compact@")
ZATTRS = {
    "codec_version": "1.0",
    "codec_name": "photon",
    "anscombe_gain": 1.0,
    "anscombe_offset": 0.0,
    "anscombe_variance": 0.0,
    "original_dtype": "uint16",
}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("key", ["int32", "int"])
def test_the_documented_example_runs(schema, store, service, key):
    backend = store(service)
    table = declare(schema, RECORDING.replace("int32", key))
    data = poisson()
    table.insert1({"recording_id": 42, "movie": data})
    movie = (table & {"recording_id": 42}).fetch1("movie")
    assert isinstance(movie, pg.Movie)
    assert movie.shape == (250, 8, 12)
    assert movie[100].dtype == np.float64
    np.testing.assert_allclose(movie[100], pg.anscombe(data[100]), atol=0.25)
    np.testing.assert_array_equal(movie.counts[100], decoded(data)[100])
    assert list(dict(movie.attrs).items())[:6] == list(ZATTRS.items())
    assert files(backend) == [
        f"{schema.database}/recording/recording_id=42/movie.zarr/{name}"
        for name in (".manifest.json", ".zarray", ".zattrs", "0.0.0", "1.0.0", "2.0.0")
    ]


def test_a_file_keeps_what_it_says_besides_pixels(schema, store, tmp_path):
    backend = store()
    table = declare(schema, COMPACT)
    data = poisson()
    tifffile.imwrite(tmp_path / "m.tif", data, software="rig 3", metadata={"axes": "TYX"})
    times = np.arange(len(data)) / 30
    value = pg.movie(tmp_path / "m.tif", noise=pg.NoiseModel(), timestamps=times, attributes={"mouse": 7})
    table.insert1({"recording_id": 42, "movie": value})
    movie = (table & {"recording_id": 42}).fetch1("movie")
    assert movie.source_metadata["tiff/Software"].text == "rig 3"
    assert movie.axes == "tyx" and movie.attrs["mouse"] == 7
    np.testing.assert_array_equal(movie.timestamps, times)
    assert any(name.endswith("/.source_metadata.zip") for name in files(backend))
    # Inserting the fetched movie again keeps it all.
    table.insert1({"recording_id": 43, "movie": movie})
    copy = (table & {"recording_id": 43}).fetch1("movie")
    assert copy.source_metadata == movie.source_metadata
    np.testing.assert_array_equal(copy.timestamps, times)


def test_the_documented_metadata_key_for_key(schema, store):
    """1000 x 512 x 512 with the documented compressor values; zeros, so that it is quick."""
    backend = store()
    table = declare(schema, RECORDING)
    data = np.lib.stride_tricks.as_strided(np.zeros(1, "uint16"), (1000, 512, 512), (0, 0, 0))
    table.insert1(
        {"recording_id": 42, "movie": pg.movie(data, compressor="zstd-5-bitshuffle", noise=pg.NoiseModel())}
    )
    folder = f"{schema.database}/recording/recording_id=42/movie.zarr"
    array = json.loads(backend.get_buffer(f"{folder}/.zarray"))
    assert list(array.items()) == [
        ("chunks", [100, 512, 512]),
        ("compressor", {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 2}),
        ("dtype", "<f8"),
        ("fill_value", None),
        ("filters", None),
        ("order", "C"),
        ("shape", [1000, 512, 512]),
        ("zarr_format", 2),
    ]
    attributes = json.loads(backend.get_buffer(f"{folder}/.zattrs"))
    assert list(attributes.items())[:6] == list(ZATTRS.items())
    assert [name for name in files(backend, folder) if name[0].isdigit()] == [f"{i}.0.0" for i in range(10)]


@pytest.mark.parametrize("service", SERVICES)
def test_compound_and_special_keys(schema, store, service):
    backend = store(service)
    table = declare(
        schema,
        "subject_id : int32\nsession_date : date\nfilename : varchar(12000)\n---\nmovie : <photon@imaging>",
    )
    day = datetime.date(2024, 1, 15)
    names = [
        "data/raw.tif",
        "data%2Fraw.tif",
        ".",
        "..",
        "",
        "é",
        "x" * 10_000,
        "x" * 9_999 + "y",
        "a b?#&+=~",
    ]
    expected = {name: poisson(seed, 3, 4, 4) for seed, name in enumerate(names)}
    for name, data in expected.items():
        table.insert1({"subject_id": 10, "session_date": day, "filename": name, "movie": data})
    for name, data in expected.items():
        movie = (table & {"filename": name}).fetch1("movie")
        np.testing.assert_array_equal(movie.counts[...], decoded(data))
    folders = {path.split("/movie.zarr/")[0] for path in files(backend, f"{schema.database}/recording")}
    assert len(folders) == len(names)
    assert "subject_id=10/session_date=2024-01-15/filename=data%2Fraw.tif" in folders
    assert all(folder.startswith("subject_id=10/session_date=2024-01-15/filename=") for folder in folders)


def test_keys_less_than_a_second_apart(schema, store):
    store()
    table = declare(schema, "at : datetime(6)\n---\nmovie : <photon@imaging>")
    times = [datetime.datetime(2024, 1, 15, 10, 0, 0, us) for us in (0, 1, 250_000)]
    for seed, at in enumerate(times):
        table.insert1({"at": at, "movie": poisson(seed, 3)})
    for seed, at in enumerate(times):
        np.testing.assert_array_equal(
            (table & {"at": at}).fetch1("movie").counts[...], decoded(poisson(seed, 3))
        )


@pytest.mark.parametrize("service", SERVICES)
def test_compact_is_smaller_and_fetches_the_same_kind_of_movie(schema, store, service):
    backend = store(service)
    plain, compact = declare(schema, RECORDING), declare(schema, COMPACT, "Small")
    data = poisson(light=200)
    plain.insert1({"recording_id": 1, "movie": data})
    compact.insert1({"recording_id": 1, "movie": data})
    a, b = plain.fetch1("movie"), compact.fetch1("movie")
    assert type(a) is type(b)
    assert (a.layout, b.layout) == ("plain", "compact")
    assert b.attrs["codec_version"].startswith("2.")
    np.testing.assert_array_equal(a[...], b[...])
    np.testing.assert_array_equal(a.counts[...], b.counts[...])
    assert len(files(backend, f"{schema.database}/small/recording_id=1/movie.zarr")) == 6


def test_the_row_says_all_there_is_to_know(dj, schema, store):
    store()
    table = declare(schema, "i : int32\n---\nmovie : <photon@>")
    dj.config.stores["default"] = "imaging"
    noise = pg.NoiseModel(gain=2.0, offset=10.0, variance=4.0)
    data = (2 * poisson() + 10).astype("uint16")
    table.insert1({"i": 1, "movie": pg.movie(data, noise=noise, step=0.25)})
    (row,) = dj.conn().query(f"SELECT movie FROM {table.full_table_name}").fetchone()
    assert row["path"] == f"{schema.database}/recording/i=1/movie.zarr"
    assert row["store"] == "imaging"
    assert (row["codec_name"], row["codec_version"], row["layout"]) == ("photon", "1.0", "plain")
    assert (row["shape"], row["chunks"], row["dtype"]) == ([250, 8, 12], [100, 8, 12], "uint16")
    assert pg.NoiseModel.from_dict(row["noise"]) == noise
    assert row["step"] == 0.25
    assert row["raw_bytes"] == data.nbytes
    movie = table.fetch1("movie")
    assert row["stored_bytes"] == movie.stored_bytes
    assert len(row["manifest_crc32"]) == 8


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "int32", "float32", "float64"])
def test_a_fetched_movie_keeps_its_dtype(schema, store, dtype):
    store()
    table = declare(schema, RECORDING)
    data = poisson(light=30).astype(dtype)
    table.insert1({"recording_id": 1, "movie": data})
    movie = table.fetch1("movie")
    assert movie.counts[...].dtype == dtype
    np.testing.assert_allclose(movie[...], pg.anscombe(data), atol=0.25 + 1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (101, 4, 4), (30, 2, 4, 4)])
def test_movies_of_every_shape_are_fetched(schema, store, shape):
    store()
    table = declare(schema, RECORDING)
    data = np.random.default_rng(0).poisson(20, shape).astype("uint16")
    table.insert1({"recording_id": 1, "movie": data})
    np.testing.assert_array_equal(table.fetch1("movie").counts[...], decoded(data))


def test_negatives_are_refused_with_the_way_out(schema, store):
    backend = store()
    table = declare(schema, RECORDING)
    data = poisson().astype("int16") - 15
    with pytest.raises(InvalidInputError, match="NoiseModel\\(gain="):
        table.insert1({"recording_id": 1, "movie": data})
    assert len(table()) == 0
    assert files(backend) == []
    noise = pg.NoiseModel(gain=1.0, offset=-15.0)
    table.insert1({"recording_id": 1, "movie": pg.movie(data, noise=noise)})
    check_rows(table, {1: data}, noise=noise)


@pytest.mark.parametrize("value", ["movie.tif", 3, {"path": "x"}, [[1]], b"x"])
def test_what_is_no_movie_is_refused_before_anything_is_written(schema, store, value):
    backend = store()
    table = declare(schema, RECORDING)
    with pytest.raises(UnsupportedTypeError, match=r"photon_gpu\.movie\("):
        table.insert1({"recording_id": 1, "movie": value})
    assert files(backend) == []


@pytest.mark.parametrize("suffix", ["npy", "tif", "h5"])
def test_files_are_inserted_without_being_loaded_whole(schema, store, tmp_path, suffix):
    import h5py
    import tifffile

    store()
    table = declare(schema, RECORDING)
    data, path = poisson(), tmp_path / f"raw.{suffix}"
    if suffix == "npy":
        np.save(path, data)
    elif suffix == "tif":
        tifffile.imwrite(path, data)
    else:
        with h5py.File(path, "w") as file:
            file["imaging/raw"] = data
    source = (
        pg.movie(path, dataset="imaging/raw", noise=pg.NoiseModel())
        if suffix == "h5"
        else pg.movie(path, noise=pg.NoiseModel())
    )
    table.insert1({"recording_id": 1, "movie": source})
    check_rows(table, {1: data})


def test_a_source_that_is_open(schema, store, tmp_path):
    import tifffile

    store()
    table = declare(schema, RECORDING)
    tifffile.imwrite(tmp_path / "raw.tif", poisson())
    with pg.open_source(tmp_path / "raw.tif") as source:
        for i in (1, 2):
            table.insert1({"recording_id": i, "movie": pg.movie(source, noise=pg.NoiseModel())})
    check_rows(table, {1: poisson(), 2: poisson()})


def test_a_movie_larger_than_what_it_may_hold_is_never_whole_in_memory(schema, store):
    store()
    table = declare(schema, RECORDING)
    asked = []

    class Long:
        shape, dtype = (1000, 16, 16), np.dtype("uint16")

        def __getitem__(self, frames):
            asked.append(frames.stop - frames.start)
            return poisson(frames.start, frames.stop - frames.start, 16, 16)

    table.insert1({"recording_id": 1, "movie": pg.movie(Long(), chunk_frames=50, noise=pg.NoiseModel())})
    assert table.fetch1("movie").shape == (1000, 16, 16)
    assert max(asked) <= 64


def test_a_fetched_movie_can_be_inserted_elsewhere(schema, store):
    store()
    table, copy = declare(schema, RECORDING), declare(schema, COMPACT, "Copy")
    data = poisson()
    table.insert1({"recording_id": 1, "movie": pg.movie(data, dither=7, noise=pg.NoiseModel())})
    copy.insert1({"recording_id": 1, "movie": table.fetch1("movie")})
    np.testing.assert_array_equal(copy.fetch1("movie")[...], table.fetch1("movie")[...])


def test_noise_assumed_too_large_is_told_with_numbers(schema, store):
    store()
    table = declare(schema, RECORDING)
    wrong = pg.movie(poisson(light=100), noise=pg.NoiseModel(gain=50.0))
    with pytest.raises(NoiseContradictionError, match=r"step 0.5 adds \d\d% to it, not 2.1%"):
        table.insert1({"recording_id": 1, "movie": wrong})
    assert len(table()) == 0
    with pytest.warns(PhotonWarning, match=r"step 0.5 adds \d% to it"):
        wrong = pg.movie(poisson(light=100), noise=pg.NoiseModel(gain=4.0), check=False)
        table.insert1({"recording_id": 1, "movie": wrong})
    table.insert1(
        {
            "recording_id": 2,
            "movie": pg.movie(
                poisson(light=100), noise=pg.NoiseModel(gain=50.0), trust_noise=True, check=False
            ),
        }
    )


def test_an_array_is_taken_for_counts_unless_its_own_noise_contradicts_that(schema, store):
    """No photons: a camera of 0.13 ADU per photon with an offset of 100 would have its noise doubled."""
    backend = store()
    table = declare(schema, RECORDING)
    rng = np.random.default_rng(1)
    light = 200 * np.exp(rng.normal(0, 1, (40, 40)))
    camera = 100 + 0.133 * rng.poisson(light, (120, 40, 40)) + rng.normal(0, 0.8, (120, 40, 40))
    data = np.rint(camera).astype("uint16")
    with pytest.raises(NoiseContradictionError, match=r"noise='auto'") as error:
        table.insert1({"recording_id": 1, "movie": data})
    text = str(error.value)
    assert len(text) <= 300 and "gain 1, offset 0" in text and re.search(r"adds \d\d+% to it, not 2.1%", text)
    assert len(table()) == 0 and files(backend) == []
    table.insert1({"recording_id": 1, "movie": pg.movie(data)})
    movie = table.fetch1("movie")
    assert movie.noise.gain == pytest.approx(0.133, rel=0.15)
    assert movie.attrs["noise_estimate"]["verdict"] in ("PASS", "WARN")


@pytest.mark.parametrize(
    "data",
    [
        np.full((20, 16, 16), 1000, "uint16"),
        poisson(frames=3),
        np.ones((1, 4, 4), "uint16"),
        np.arange(5000, 5000 + 20 * 64, dtype="uint16").reshape(20, 8, 8),
    ],
    ids=["constant", "three frames", "one frame", "synthetic"],
)
@pytest.mark.parametrize("codec", ["photon", "photon_compact"])
def test_an_array_in_which_no_noise_can_be_measured_is_stored_as_documented(schema, store, data, codec):
    store()
    table = declare(schema, RECORDING.replace("photon", codec))
    with warnings.catch_warnings():
        warnings.simplefilter("error", PhotonWarning)
        table.insert1({"recording_id": 1, "movie": data})
    assert list(table.fetch1("movie").attrs.items())[2:5] == list(ZATTRS.items())[2:5]


def test_a_failing_movie_is_not_inserted_where_the_warning_is_an_error(schema, store):
    backend = store()
    table = declare(schema, RECORDING)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pg.FidelityWarning)
        with pytest.raises(pg.FidelityWarning, match="fails its own check: snr"):
            table.insert1({"recording_id": 1, "movie": pg.movie(poisson(), step=4.0, noise=pg.NoiseModel())})
    assert len(table()) == 0 and files(backend) == []
    table.insert1({"recording_id": 1, "movie": pg.movie(poisson(), noise=pg.NoiseModel())})
    assert table.fetch1("movie").failed_check == {}


def test_noise_assumed_too_small_is_fine(schema, store):
    store()
    table = declare(schema, RECORDING)
    data = (50 * poisson(light=100)).astype("uint16")
    with warnings.catch_warnings():
        warnings.simplefilter("error", PhotonWarning)
        table.insert1({"recording_id": 1, "movie": data})


def test_fetching_makes_no_request_and_the_first_frame_two(schema, store, monkeypatch):
    backend = store("moto")
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": poisson()})
    asked = []
    call = type(backend.fs)._call_s3

    async def counting(fs, method, *args, **kwargs):
        asked.append((method, kwargs.get("Key", "").rsplit("/", 1)[-1]))
        return await call(fs, method, *args, **kwargs)

    monkeypatch.setattr(type(backend.fs), "_call_s3", counting)
    movie = table.fetch1("movie")
    assert dict(movie.attrs)["codec_name"] == "photon"
    assert asked == []
    movie[120]
    assert sorted(asked) == [("get_object", ".manifest.json"), ("get_object", "1.0.0")]
    movie[121]
    movie[10]
    assert len(asked) == 3


def test_all_ways_of_fetching(schema, store):
    store()
    table = declare(schema, RECORDING)
    for i in (1, 2):
        table.insert1({"recording_id": i, "movie": poisson(i)})
    assert all(isinstance(row["movie"], pg.Movie) for row in table.to_dicts())
    assert [movie.shape for movie in table.fetch("movie")] == [(250, 8, 12)] * 2
    assert "recording_id" in str(table())


def test_a_null_movie_is_fetched_as_none(schema, store):
    store()
    table = declare(schema, "i : int32\n---\nmovie=null : <photon@imaging>")
    table.insert1({"i": 1})
    assert table.fetch1("movie") is None


def test_without_a_store_the_type_says_what_it_needs(dj, schema, store):
    store()
    with pytest.raises(dj.DataJointError, match=r"<photon> requires @"):
        declare(schema, RECORDING.replace("@imaging", ""))


def test_without_a_default_store_an_insert_is_refused(dj, schema, store):
    store()
    table = declare(schema, RECORDING.replace("@imaging", "@"))
    with pytest.raises(InvalidInputError, match="there is no default one"):
        table.insert1({"recording_id": 1, "movie": poisson()})


def test_a_store_configured_in_datajoint_keeps_its_own_prefix_and_partition(dj, schema, tmp_path):
    dj.config.stores["imaging"] = {
        "protocol": "file",
        "location": str(tmp_path),
        "partition_pattern": "{session}",
    }
    table = declare(schema, "subject : int32\nsession : int32\n---\nmovie : <photon@imaging>")
    table.insert1({"subject": 1, "session": 2, "movie": poisson()})
    assert (tmp_path / f"_schema/session=2/{schema.database}/recording/subject=1/movie.zarr/.zarray").exists()
    assert table.fetch1("movie").shape == (250, 8, 12)


@pytest.mark.parametrize("endpoint", ["seaweed", "moto"])
@pytest.mark.parametrize("storage_class", ["STANDARD_IA", "GLACIER"])
def test_chunks_are_written_in_the_storage_class_and_metadata_are_not(schema, store, endpoint, storage_class):
    backend = store(endpoint, storage_class=storage_class)
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": poisson()})
    folder = f"{schema.database}/recording/recording_id=1/movie.zarr"
    storage_classes = {
        name: backend.fs.info(backend._full_path(f"{folder}/{name}")).get("StorageClass")
        for name in files(backend, folder)
    }
    assert {storage_classes[name] for name in ("0.0.0", "1.0.0", "2.0.0")} == {storage_class}
    assert {storage_classes[name] for name in (".zarray", ".zattrs", ".manifest.json")} <= {"STANDARD", None}


def test_an_archived_chunk_says_so_and_how_to_get_it_back(schema, store):
    store("moto", storage_class="GLACIER")
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": poisson()})
    movie = table.fetch1("movie")
    assert movie.attrs["codec_name"] == "photon"
    way = r"archive storage class.*aws s3api restore-object --bucket imaging --key '.*/0\.0\.0'"
    with pytest.raises(pg.PhotonError, match=way):
        movie[0]


def test_two_stores_in_one_table(schema, store, specs):
    hot = store("file", name="hot")
    cold = store("moto", name="cold")
    table = declare(schema, "i : int32\n---\na : <photon@hot>\nb : <photon_compact@cold>")
    table.insert1({"i": 1, "a": poisson(1), "b": poisson(2)})
    np.testing.assert_array_equal(table.fetch1("b").counts[...], decoded(poisson(2)))
    assert len(files(hot)) == len(files(cold)) == 6


def test_a_movie_that_was_replaced_behind_the_rows_back_is_noticed(schema, store):
    backend = store()
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": poisson()})
    path = backend._full_path(f"{schema.database}/recording/recording_id=1/movie.zarr")
    pg.encode(poisson(5), path, overwrite=True, noise=pg.NoiseModel())
    with pytest.raises(pg.PhotonError, match="not the one that this row was inserted with"):
        table.fetch1("movie")[0]


@pytest.mark.parametrize("definition", [RECORDING, COMPACT])
def test_swapped_chunks_are_refused_where_the_manifest_is_lost(schema, store, definition):
    backend = store()
    table = declare(schema, definition)
    table.insert1(
        {"recording_id": 1, "movie": pg.movie(poisson(frames=20), noise=pg.NoiseModel(), chunk_frames=10)}
    )
    folder = Path(backend._full_path(f"{schema.database}/recording/recording_id=1/movie.zarr"))
    (folder / ".manifest.json").unlink()
    for old, new in (("0.0.0", "x"), ("1.0.0", "0.0.0"), ("x", "1.0.0")):
        (folder / old).rename(folder / new)
    reads = (lambda movie: movie.counts[...], lambda movie: movie[3], lambda movie: movie.counts[13, 2])
    for read in reads:
        with pytest.raises(pg.PhotonError, match="manifest.json is missing"):
            read(table.fetch1("movie"))
        with (
            pytest.warns(PhotonWarning, match="has lost its .manifest"),
            pytest.raises(pg.PhotonError, match="its file is in the wrong place"),
        ):
            read(pg.open(folder))


def test_stores_of_another_instance(another, dj, schema, store, tmp_path):
    """Codecs resolve stores by the connection's own configuration."""
    store()
    (tmp_path / "theirs").mkdir()
    stores({"imaging": {"protocol": "file", "location": str(tmp_path / "theirs")}}, config=another.config)
    theirs = another.Schema(schema.database)
    table = theirs(type("Recording", (dj.Manual,), {"definition": RECORDING}), context={})
    table.insert1({"recording_id": 1, "movie": poisson()})
    assert (tmp_path / f"theirs/{schema.database}/recording/recording_id=1/movie.zarr").exists()
    assert table.fetch1("movie").shape == (250, 8, 12)
