"""Every layout: a chunk to bytes and back, in every dtype and shape, whole and in part."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.pool import Split
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.store import metadata

NUMBA, NUMPY = get_backend("numba"), get_backend("numpy")
CAMERA = NoiseModel(gain=2.0, offset=100.0, variance=4.0)
LAYOUTS = ["plain", "compact", "lossless"]
DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
SHAPES = [(6, 5, 7), (1, 5, 7), (6, 1, 1), (1, 1, 1), (3, 2, 4, 5), (2, 2, 2, 3, 4), (5, 90, 200)]


def movie(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    values = 100 + 2 * rng.poisson(20.0, shape) + rng.normal(0, 2, shape)
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    info = np.iinfo(dtype)
    return np.clip(np.rint(values), info.min, info.max).astype(dtype)


def made(name, dtype="uint16", backend=NUMBA, **changes):
    options = dict(layout=name, dtype=dtype, noise=CAMERA, predictor=Predictor(name="past"), **changes)
    return layout_for(Encoding(**options), backend)


@pytest.mark.parametrize("dither", [None, 5])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYOUTS)
def test_encoded_chunks_decode_within_half_a_step(name, dtype, dither):
    layout = made(name, dtype, dither=dither)
    for shape in SHAPES:
        values = movie(dtype, shape)
        for frames in {1, shape[0]}:  # a last chunk of one frame, and a full one
            data = layout.encode(values[:frames], shape, Resources())
            assert isinstance(data, bytes)
            decoded = layout.decode(data, ChunkPart(shape, 0, frames), STABILIZED)
            counts = layout.decode(data, ChunkPart(shape, 0, frames), np.dtype(dtype))
            assert decoded.shape == counts.shape == (frames, *shape[1:])
            assert decoded.dtype == np.float64 and counts.dtype == dtype
            off = np.abs(decoded - anscombe(values[:frames], CAMERA)).max()
            assert off <= (0.25 + 1e-9 if name != "lossless" else 0)
            if name == "lossless":
                np.testing.assert_array_equal(counts, values[:frames])
            again = layout.encode(counts, shape, Resources())
            np.testing.assert_array_equal(
                layout.decode(again, ChunkPart(shape, 0, frames), np.dtype(dtype)), counts
            )
            smooth = layout.decode(data, ChunkPart(shape, 0, frames), np.dtype("float64"))
            # With dither, values at the end of a dtype stand for some beyond it: their mean is what is right.
            assert np.abs(smooth - counts).max() < (1.0 if dither is None else 2.0)


@pytest.mark.parametrize("dither", [None, 5])
def test_plain_and_compact_decode_to_the_same(dither):
    """One quantization, two ways to store it."""
    values = movie("uint16", (4, 40, 50))
    decoded = {}
    for name in ("plain", "compact"):
        layout = made(name, dither=dither)
        data = layout.encode(values, values.shape, Resources())
        decoded[name] = [
            layout.decode(data, ChunkPart(values.shape), what)
            for what in (STABILIZED, np.dtype("uint16"), np.dtype("float64"))
        ]
    for plain, compact in zip(*decoded.values(), strict=True):
        np.testing.assert_array_equal(plain, compact)


@pytest.mark.parametrize("dither", [None, 5])
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_twins_write_and_read_the_same(name, dither):
    values = movie("uint16", (3, 20, 30))
    first, second = made(name, dither=dither), made(name, dither=dither, backend=NUMPY)
    data = first.encode(values, values.shape, Resources())
    assert data == second.encode(values, values.shape, Resources())
    for what in (STABILIZED, np.dtype("uint16")):
        np.testing.assert_array_equal(
            first.decode(data, ChunkPart(values.shape), what),
            second.decode(data, ChunkPart(values.shape), what),
        )


@pytest.mark.parametrize("dither", [None, 5])
@pytest.mark.parametrize("name", LAYOUTS)
def test_any_frames_are_those_of_the_whole(name, dither):
    shape = (9, 150, 211)  # several Blosc blocks, whose ends are no ends of frames
    values = movie("uint16", shape)
    layout = made(name, dither=dither, compressor=Compressor(blocksize=1 << 17))
    with ThreadPoolExecutor(3) as pool:
        data = layout.encode(values, shape, Resources(split=Split(3, pool.map)))
        assert data == layout.encode(values, shape, Resources())
        for what in (STABILIZED, np.dtype("uint16"), np.dtype("float32")):
            whole = layout.decode(data, ChunkPart(shape), what, Split(3, pool.map))
            for start, stop in ((0, 1), (8, 9), (3, 7), (1, 9)):
                np.testing.assert_array_equal(
                    layout.decode(data, ChunkPart(shape, start, stop), what), whole[start:stop]
                )


def test_lossless_keeps_every_bit():
    values = np.frombuffer(np.random.default_rng(0).bytes(8 * 600), "<f8").reshape(6, 10, 10).copy()
    values[0, 0, :4] = [np.nan, np.inf, -np.inf, -0.0]
    layout = made("lossless", "float64")
    data = layout.encode(values, values.shape, Resources())
    assert layout.decode(data, ChunkPart(values.shape), np.dtype("float64")).tobytes() == values.tobytes()


def test_plain_holds_multiples_of_the_step_with_dither_too():
    for dither in (None, 3):
        layout = made("plain", step=0.3, dither=dither)
        values = movie("uint16", (3, 8, 8))
        from photon_gpu.engine.codec.blosc import decompress

        labels = (
            decompress(layout.encode(values, (4, 8, 8), Resources()), 4 * 64 * 8).view("<f8").reshape(4, 8, 8)
        )
        np.testing.assert_array_equal(labels[:3], np.rint(labels[:3] / 0.3) * 0.3)
        assert not labels[3].any()


def test_labels_off_the_grid_are_damage():
    layout = made("plain")
    from photon_gpu.engine.codec.blosc import compress

    labels = np.full((2, 4, 4), 7.25)
    with pytest.raises(CorruptDataError, match="32 of 32 values.*multiples of the step"):
        layout.decode(compress(labels, Compressor()), ChunkPart((2, 4, 4), 0, 2), STABILIZED)


def test_labels_too_far_apart_for_a_table_are_damage():
    from photon_gpu.engine.codec.blosc import compress

    labels = np.zeros((1, 2, 2))
    labels[0, 0, 0] = 2.0**29
    for dither, what in ((None, np.dtype("uint16")), (4, STABILIZED)):
        layout = made("plain", dither=dither)
        with pytest.raises(CorruptDataError, match="no release writes"):
            layout.decode(compress(labels, Compressor()), ChunkPart((1, 2, 2), 0, 1), what)


@pytest.mark.parametrize("name", ["plain", "lossless", "compact"])
def test_a_chunk_of_another_size_is_refused(name):
    values = movie("uint16", (4, 6, 7))
    layout = made(name)
    data = layout.encode(values, values.shape, Resources())
    for chunk in ((4, 6, 8), (5, 6, 7), (2, 6, 7)):
        with pytest.raises(CorruptDataError):
            layout.decode(data, ChunkPart(chunk), np.dtype("uint16"))


def test_what_plain_could_not_read_back_is_refused_when_it_is_stored():
    layout = made("plain", "float64")
    with pytest.raises(InvalidInputError, match=r"below 2\*\*31"):
        layout.encode(np.full((1, 2, 2), 1e20), (1, 2, 2), Resources())


def test_an_unquantized_store_is_read_by_the_algebraic_inverse():
    from photon_gpu.engine.codec.blosc import compress

    values = movie("uint16", (3, 6, 7))
    layout = layout_for(Encoding(layout="plain", noise=CAMERA, step=None), NUMBA)
    data = compress(anscombe(values, CAMERA), Compressor())
    np.testing.assert_array_equal(layout.decode(data, ChunkPart(values.shape), np.dtype("uint16")), values)
    np.testing.assert_allclose(
        layout.decode(data, ChunkPart(values.shape), np.dtype("float32")), values, rtol=1e-6
    )
    with pytest.raises(CorruptDataError, match="cannot hold"):
        layout.decode(
            compress(np.full((3, 6, 7), 1e9), Compressor()), ChunkPart(values.shape), np.dtype("uint16")
        )
    with pytest.raises(CorruptDataError, match="cannot hold"):
        layout.decode(
            compress(np.full((3, 6, 7), np.nan), Compressor()),
            ChunkPart(values.shape),
            np.dtype("uint16"),
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_largest_default_chunk_can_be_written_and_opened(name, dtype):
    """By its metadata: a movie of frames so large that fewer than 100 fit."""
    layout = made(name, dtype)
    shape = (1000, 8192, 8192)
    frames = layout.chunk_frames(None, shape)
    assert 1 <= frames < 100
    array, attributes = (
        metadata.array_json(shape, (frames, *shape[1:]), layout),
        metadata.attributes_json(shape, layout, {}),
    )
    assert metadata.describe(array, attributes, "here").chunks == (frames, 8192, 8192)
    with pytest.raises(InvalidInputError, match=f"at most {frames}"):
        layout.chunk_frames(frames + 1, shape)


def test_a_chunk_has_100_frames_or_as_many_as_asked_for():
    layout = made("plain")
    assert layout.chunk_frames(None, (1000, 10, 10)) == 100 and layout.chunk_frames(None, (7, 10, 10)) == 7
    assert (
        layout.chunk_frames(30, (1000, 10, 10)) == 30 and layout.chunk_frames(np.int64(30), (7, 10, 10)) == 7
    )
    for asked in (0, -1, 1.5, True, "10"):
        with pytest.raises(InvalidInputError, match="chunk_frames"):
            layout.chunk_frames(asked, (1000, 10, 10))
    with pytest.raises(InvalidInputError, match="one frame"):
        layout.chunk_frames(None, (3, 20_000, 20_000))


def test_every_layout_has_its_version_and_the_dtype_zarr_sees():
    assert [made(name).version for name in LAYOUTS] == ["1.0", "2.1", "3.0"]
    assert made("plain", "int16").dtype.str == "<f8" and made("plain").filters is None
    for name in ("compact", "lossless"):
        assert made(name, "int16").dtype.str == "<i2" and made(name, "uint8").dtype.str == "|u1"
    assert made("lossless").filters is None and made("compact").filters[0]["id"] == "photon"


@pytest.mark.parametrize("name", ["moving", "full", "spatial"])
@pytest.mark.parametrize("levels, coded", [(0, False), (2, False), (255, False), (2, True), (255, True)])
@pytest.mark.parametrize("shape", [(100, 2, 2), (1, 16, 1), (5, 40, 1), (3, 1, 1), (2, 3), (4, 3, 2, 1)])
def test_a_movie_smaller_than_its_tables_is_read_as_it_was_written(name, levels, coded, shape):
    """The bound on what a chunk may open to, which keeps hostile ones out, has room for every table."""
    values = np.random.default_rng(0).poisson(9, shape).astype("uint16")
    predictor = Predictor(name=name, levels=levels, coded=coded)
    encoding = Encoding(layout="compact", noise=NoiseModel(), predictor=predictor)
    layout = layout_for(encoding, get_backend("numba"))
    data = layout.encode(values, shape, Resources())
    counts = layout.decode(data, ChunkPart(shape), np.dtype("uint16"))
    again = layout.decode(layout.encode(counts, shape, Resources()), ChunkPart(shape), np.dtype("uint16"))
    np.testing.assert_array_equal(again, counts)
    assert np.abs(anscombe(counts) - anscombe(values)).max() <= 0.5
