"""What a release wrote, every later release reads, and writes the same again."""

from __future__ import annotations

import json
import shutil

import numcodecs.blosc
import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.codec import blosc
from photon_gpu.errors import PhotonWarning, UnsupportedVersionError
from photon_gpu.kernels.zstd_huffman import cpu as huffman
from photon_gpu.store import metadata
from photon_gpu.store.check_without_manifest import proves_itself
from tests.support.stores.golden_names import GOLDEN, LISTED
from tests.support.stores.make_golden import CASES, make

BACKENDS = ("numba", "numpy")


def test_every_listed_golden_store_is_there_and_every_case_is_listed():
    present = {path.name for path in GOLDEN.iterdir() if (path / "store" / ".zarray").exists()}
    assert set(LISTED) == present
    assert set(CASES) <= set(LISTED)
    for version in (
        "plain-1.0",
        "compact-2.0",
        "compact-2.1",
        "compact-2.2",
        "compact-2.3",
        "compact-2.4",
        "lossless-3.0",
        "plain-1.1",
        "compact-2.5",
        "lossless-3.1",
        "plain-1.2",
        "compact-2.6",
        "compact-2.7",
        "plain-1.3",
        "lossless-3.2",
    ):
        assert any(name.startswith(version) for name in LISTED)


def test_a_check_that_failed_stays_with_the_movie_for_ever():
    store = GOLDEN / "plain-1.0-failed-check" / "store"
    movie = pg.open(store)
    assert movie.failed_check == {"snr": "28.89 % measured, 34.53 % by theory for step 4"}
    assert list(movie.attrs)[-2:] == ["mouse", "fidelity_check"]
    assert [problem.kind for problem in pg.verify(store).problems] == ["failing"]
    for name in LISTED:
        failed = pg.open(GOLDEN / name / "store").failed_check
        assert bool(failed) == (name == "plain-1.0-failed-check")


def test_what_was_kept_besides_pixels_is_read_for_ever():
    movie = pg.open(GOLDEN / "compact-2.4-recording" / "store")
    wanted = CASES["compact-2.4-recording"]["recording"]
    assert movie.recording.to_dict() == wanted.to_dict()
    assert (movie.axes, movie.channel_names, movie.frame_rate) == ("tcyx", ("green", "red"), 30.0)
    np.testing.assert_array_equal(movie.timestamps, wanted.timestamps)
    assert movie.source_metadata["tiff/Software"].data == b"SI.VERSION_MAJOR = 2020"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", LISTED)
def test_reads_the_same_values_for_ever(name, backend):
    movie = pg.open(GOLDEN / name / "store", backend=backend)
    counts, stabilized = np.load(GOLDEN / name / "counts.npy"), np.load(GOLDEN / name / "stabilized.npy")
    assert movie.counts.dtype == counts.dtype
    np.testing.assert_array_equal(movie.counts[...], counts)
    np.testing.assert_array_equal(movie[...], stabilized)


@pytest.mark.parametrize("name", LISTED)
def test_every_version_is_found_whole(name):
    verification = pg.verify(GOLDEN / name / "store", deep=True)
    assert not verification.lost and {problem.kind for problem in verification.problems} <= {"failing"}


@pytest.mark.parametrize("name", LISTED)
def test_what_came_out_is_within_half_a_step_of_what_went_in(name):
    values = np.load(GOLDEN / name / "input.npy")
    movie = pg.open(GOLDEN / name / "store")
    if movie.layout == "lossless" or movie.encoding.exact:
        np.testing.assert_array_equal(movie.counts[...], values)
        return
    parts = [(movie, values)]
    if movie.encoding.channels:
        channels = np.moveaxis(values, movie.encoding.channel_axis, 0)
        parts = [(movie.channel(number), part) for number, part in enumerate(channels)]
    for part, went_in in parts:
        away = np.abs(part[...] - pg.anscombe(went_in, part.noise))
        most = part.encoding.table().most_moved(went_in) if part.encoding.peaks else movie.step / 2
        assert (away <= most + 1e-9).all()


def without_later_keys(attributes: bytes) -> bytes:
    """``.zattrs`` without what was added to it after stores of its version were first written."""
    kept = json.loads(attributes)
    for key in (metadata.DIMENSIONS, metadata.FORMAT):
        del kept[key]
    return json.dumps(kept, indent=4).encode()


@pytest.mark.parametrize("name", sorted(CASES))
def test_writes_the_same_content_again(name, tmp_path):
    make(name, tmp_path / "again")
    old, new = GOLDEN / name / "store", tmp_path / "again" / "store"
    names = sorted(path.name for path in old.iterdir())
    assert names == sorted(path.name for path in new.iterdir())
    for file in names:
        first, second = (old / file).read_bytes(), (new / file).read_bytes()
        if file == ".zattrs":
            assert first == (second if metadata.FORMAT.encode() in first else without_later_keys(second))
        elif file == ".zarray":
            assert first == second
        elif not file.startswith("."):
            # Compressed bytes may differ between releases of zstd; what they open to may not.
            opened = [
                blosc.decompress(data, blosc.frame_sizes(data)[0]).tobytes() for data in (first, second)
            ]
            assert opened[0] == opened[1]


def test_one_golden_store_has_frames_of_huffman_codes_only():
    for name in ("0.0.0", "1.0.0"):
        frame = np.fromfile(GOLDEN / "compact-2.4-huffman" / "store" / name, np.uint8)
        nbytes, _ = blosc.frame_sizes(frame.tobytes())
        content, out = np.empty(nbytes, np.uint8), np.empty(2 * nbytes, np.uint8)
        assert huffman.decode_blosc(frame, content) == nbytes
        again = out[: huffman.encode_blosc(content, 4096, 1 << 15, out, np.empty(0, int), out[:0])]
        assert again.tobytes() == frame.tobytes(), "what is written does not depend on a library"


def test_one_golden_store_has_a_stream_for_each_plane_of_bytes():
    frame = (GOLDEN / "plain-1.3-planes" / "store" / "0.0.0").read_bytes()
    labels = np.frombuffer(numcodecs.blosc.decompress(frame), "<f8").reshape(4, 70, 64)
    np.testing.assert_array_equal(labels, np.load(GOLDEN / "plain-1.3-planes" / "stabilized.npy")[:4])
    assert frame[2] == 0x81, "zstd, shuffled, in streams"
    starts = np.frombuffer(frame, "<i4", 3, 16)
    end_of_constant = starts[0] + 4 + int.from_bytes(frame[starts[0] : starts[0] + 4], "little")
    assert end_of_constant == starts[0] + 14


def test_an_unknown_major_version_is_refused(tmp_path):
    folder = tmp_path / "future.zarr"
    folder.mkdir()
    for file in (GOLDEN / "plain-1.0-uint16" / "store").iterdir():
        (folder / file.name).write_bytes(file.read_bytes().replace(b'"1.0"', b'"4.0"'))
    with pytest.raises(UnsupportedVersionError, match=r"4\.0.*reads 1\.x"):
        pg.open(folder)


def test_a_later_minor_version_with_more_keys_is_read(tmp_path):
    folder = tmp_path / "later.zarr"
    folder.mkdir()
    for file in (GOLDEN / "plain-1.0-uint16" / "store").iterdir():
        data = file.read_bytes()
        if file.name == ".zattrs":
            data = data.replace(b'"1.0"', b'"1.7"').replace(b"{", b'{"something_new": [1],', 1)
        if file.name != ".manifest.json":
            (folder / file.name).write_bytes(data)
    with pytest.warns(PhotonWarning, match="has lost its .manifest.json"):
        result = pg.open(folder).counts[...]
    np.testing.assert_array_equal(result, np.load(GOLDEN / "plain-1.0-uint16" / "counts.npy"))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in LISTED
        if name.startswith(
            ("compact-2.4", "compact-2.5", "compact-2.6", "compact-2.7", "plain-1.3", "lossless-3.2")
        )
    ],
)
def test_chunks_that_carry_their_number_are_missed_in_their_places(name, tmp_path):
    folder = tmp_path / "store"
    shutil.copytree(GOLDEN / name / "store", folder)
    (folder / ".manifest.json").unlink()
    chunks = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    described = metadata.describe(
        (folder / ".zarray").read_bytes(), (folder / ".zattrs").read_bytes(), str(folder)
    )
    for number, path in enumerate(chunks):
        data = path.read_bytes()
        assert proves_itself(data, number, described) and not proves_itself(data, number + 1, described)


def test_a_store_with_only_the_documented_keys_is_read(tmp_path):
    """As other programs write it: unquantized stabilized values and six attributes."""
    values = np.random.default_rng(3).poisson(20.0, (5, 8, 8)).astype("uint16")
    import zarr
    from numcodecs import Blosc

    array = zarr.create_array(
        str(tmp_path / "old.zarr"),
        shape=values.shape,
        chunks=(5, 8, 8),
        dtype="<f8",
        fill_value=None,
        compressors=Blosc(cname="zstd", clevel=5, shuffle=2),
        filters=None,
        zarr_format=2,
        attributes={
            "codec_version": "1.0",
            "codec_name": "photon",
            "anscombe_gain": 1.0,
            "anscombe_offset": 0.0,
            "anscombe_variance": 0.0,
            "original_dtype": "uint16",
        },
    )
    array[:] = 2 * np.sqrt(values + 0.375)
    movie = pg.open(tmp_path / "old.zarr")
    assert movie.step is None
    np.testing.assert_array_equal(movie.counts[...], values)
    np.testing.assert_allclose(movie[...], pg.anscombe(values))


def test_an_ome_zarr_movie_is_read_for_ever():
    golden = GOLDEN / "ome-zarr-0.5-compact"
    movie = pg.open(golden / "store.ome.zarr")
    np.testing.assert_array_equal(movie.counts[...], np.load(golden / "counts.npy"))
    assert pg.verify(golden / "store.ome.zarr", deep=True).ok
