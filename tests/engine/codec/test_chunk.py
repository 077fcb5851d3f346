"""Chunks to payloads and back: every dtype, predictor, dither and shape; bands, code widths."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_gpu.engine.codec import chunk as coder
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.header import unpack
from photon_gpu.engine.codec.predictors import NAMES, SORTABLE, Predictor, fit
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.pool import Split
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.writer.compression_tuning import _codes
from tests.support.stores.encoded_chunks import CAMERA, DTYPES, MADE, NUMBA, NUMPY, encoded, movie

SHAPES = [
    (6, 5, 7),
    (1, 5, 7),
    (6, 1, 1),
    (1, 1, 1),
    (3, 2, 4, 5),
    (2, 2, 2, 3, 4),
    (9, 7),
    (40,),
    (3, 200, 300),
]


MADE |= {
    f"{name}, sorted": Predictor(name=name, levels=levels)
    for name, levels in zip(SORTABLE, (64, 2, 255), strict=True)
}
MADE |= {
    f"{name}, coded": Predictor(name=name, levels=levels, coded=True)
    for name, levels in zip(SORTABLE, (255, 64, 2), strict=True)
}


def away(decoded, values, noise=CAMERA):
    """Worst distance on the stabilized scale."""
    return float(np.abs(decoded - anscombe(values, noise)).max())


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("dither", [None, 9])
@pytest.mark.parametrize("dtype", DTYPES)
def test_within_half_a_step_in_every_dtype(dtype, dither, name):
    for shape in SHAPES[: 5 if name.startswith(("full", "moving")) else 9]:
        values = movie(dtype, shape)
        encoding = Encoding(layout="compact", dtype=dtype, noise=CAMERA, dither=dither, predictor=MADE[name])
        payload = encoded(values, encoding)
        decoded = coder.decode(payload, ChunkPart(shape), encoding, NUMBA, what=STABILIZED)
        assert decoded.shape == shape and decoded.dtype == np.float64
        assert away(decoded, values) <= 0.25 + 1e-9
        counts = coder.decode(payload, ChunkPart(shape), encoding, NUMBA, what=np.dtype(dtype))
        assert counts.dtype == dtype and counts.shape == shape
        # A decoded value lies in the bin of the value it stands for, so it has the same code.
        again = encoded(counts, encoding)
        np.testing.assert_array_equal(
            coder.decode(again, ChunkPart(shape), encoding, NUMBA, what=np.dtype(dtype)), counts
        )


@given(
    gain=st.floats(0.05, 500),
    offset=st.floats(-500, 500),
    read=st.floats(0, 5),
    step=st.floats(0.05, 4),
    photons=st.floats(0, 3000),
    dither=st.sampled_from([None, 0, 2**32 - 1]),
    name=st.sampled_from(list(MADE)),
    dtype=st.sampled_from(["int16", "uint16", "int32", "float32", "float64"]),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20)),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=120, derandomize=True)
def test_within_half_a_step_under_any_model(
    gain, offset, read, step, photons, dither, name, dtype, shape, seed
):
    noise = NoiseModel(gain=gain, offset=offset, variance=(gain * read) ** 2)
    rng = np.random.default_rng(seed)
    values = offset + gain * (rng.poisson(photons, shape) + rng.normal(0, read, shape))
    if np.dtype(dtype).kind == "i" or dtype == "uint16":
        info = np.iinfo(dtype)
        values = np.clip(np.rint(values), info.min, info.max)
    values = values.astype(dtype)
    encoding = Encoding(
        layout="compact", dtype=dtype, noise=noise, step=step, dither=dither, predictor=MADE[name]
    )
    payload = encoded(values, encoding)
    decoded = coder.decode(payload, ChunkPart(shape), encoding, NUMBA, what=STABILIZED)
    room = 1e-9 * (1 + float(np.abs(anscombe(values, noise)).max()))
    assert away(decoded, values, noise) <= step / 2 + room
    assert payload.tobytes() == encoded(values, encoding, backend=NUMPY).tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64"])
@pytest.mark.parametrize("name", MADE)
def test_exact_values_come_back_exactly(name, dtype):
    encoding = Encoding(layout="compact", dtype=dtype, noise=CAMERA, exact=True, predictor=MADE[name])
    info = np.iinfo(dtype)
    everything = np.array([[[0, 1, 2, 3], [50, 100, 101, info.max if info.max < 2**32 else 2**31]]], dtype)
    for values in (movie(dtype, (5, 6, 7)), everything):
        payload = encoded(values, encoding)
        assert unpack(payload)[0].exact
        np.testing.assert_array_equal(
            coder.decode(payload, ChunkPart(values.shape), encoding, NUMBA, what=np.dtype(dtype)), values
        )
        assert away(coder.decode(payload, ChunkPart(values.shape), encoding, NUMBA), values) <= 0.25 + 1e-9


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("photons, step, width", [(20.0, 0.5, 1), (30_000.0, 0.25, 2), (3e8, 0.05, 4)])
def test_codes_take_the_bytes_they_need(photons, step, width, name):
    """A chunk with one dark and one bright pixel: nothing is clipped, whatever the width that takes."""
    values = movie("int64", (4, 20, 20), photons=5.0)
    values[2, 3, 4] = int(photons * 2) + 100
    encoding = Encoding(layout="compact", dtype="int64", noise=CAMERA, step=step, predictor=MADE[name])
    for backend in (NUMBA, NUMPY):
        payload = encoded(values, encoding, backend=backend)
        header, _ = unpack(payload)
        assert header.width == width and header.top >= {1: 5, 2: 256, 4: 65536}[width]
        assert NAMES[header.predictor] == (MADE[name].name if width < 4 else "none")
        decoded = coder.decode(payload, ChunkPart(values.shape), encoding, backend)
        assert away(decoded, values) <= step / 2 + 1e-6


def test_a_chunk_far_from_the_sample_of_the_fit_is_restored_and_the_same_on_every_backend():
    """The constant of a predictor reaches its limit; the running mean starts far out."""
    dark = movie("int64", (8, 16, 16), photons=3.0)
    base = Encoding(layout="compact", dtype="int64", noise=CAMERA, step=0.05)
    bright = dark + 10**9
    bright[:, 0, 0] += 10**8
    for name in ("mean", "past", "full"):
        encoding = base.but(predictor=fit([_codes(dark, base, NUMBA)], name, 8))
        payload = encoded(bright, encoding)
        assert unpack(payload)[0].width == 2
        assert payload.tobytes() == encoded(bright, encoding, backend=NUMPY).tobytes()
        assert away(coder.decode(payload, ChunkPart(bright.shape), encoding, NUMBA), bright) <= 0.025 + 1e-6


@pytest.mark.parametrize("shape", [(9, 90, 91), (5, 130, 120)])
def test_samples_are_the_same_on_a_processor_without_permutes_of_words(monkeypatch, shape):
    values = movie("int16", shape)
    encoding = Encoding(layout="compact", dtype="int16", noise=CAMERA, predictor=MADE["mean"])
    payload = encoded(values, encoding)
    permuted = coder.decode(payload, ChunkPart(shape), encoding, NUMBA, what=np.dtype("int16"))
    monkeypatch.setattr("photon_gpu.engine.codec.dequantize.can_permute", lambda: False)
    looked_up = coder.decode(payload, ChunkPart(shape), encoding, NUMBA, what=np.dtype("int16"))
    np.testing.assert_array_equal(permuted, looked_up)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("dither", [None, 4])
def test_parts_of_a_chunk_are_parts_of_the_whole(name, dither):
    values = movie("uint16", (7, 130, 300))  # three bands of rows
    encoding = Encoding(layout="compact", noise=CAMERA, dither=dither, predictor=MADE[name])
    payload = encoded(values, encoding)
    assert unpack(payload)[0].band_rows < 130
    for what in (STABILIZED, np.dtype("uint16")):
        whole = coder.decode(payload, ChunkPart(values.shape), encoding, NUMBA, what=what)
        for start, stop in ((0, 7), (0, 1), (6, 7), (2, 5), (3, 3)):
            part = coder.decode(payload, ChunkPart(values.shape, start, stop), encoding, NUMBA, what=what)
            np.testing.assert_array_equal(part, whole[start:stop])


@pytest.mark.parametrize("name", ["past", "moving, sorted", "full, coded"])
def test_threads_change_no_byte(name):
    values = movie("uint16", (5, 200, 300))
    encoding = Encoding(layout="compact", noise=CAMERA, predictor=MADE[name])
    with ThreadPoolExecutor(4) as pool:
        payload = encoded(values, encoding, split=Split(3, pool.map))
        assert payload.tobytes() == encoded(values, encoding).tobytes()
        np.testing.assert_array_equal(
            coder.decode(payload, ChunkPart(values.shape), encoding, NUMBA, split=Split(3, pool.map)),
            coder.decode(payload, ChunkPart(values.shape), encoding, NUMBA),
        )


@pytest.mark.parametrize("name", MADE)
def test_a_last_chunk_holds_only_its_frames(name):
    values = movie("int16", (3, 6, 7))
    encoding = Encoding(layout="compact", dtype="int16", noise=CAMERA, predictor=MADE[name])
    payload = encoded(values, encoding, chunk=(10, 6, 7))
    header, body = unpack(payload)
    assert header.frames == 3 and body.places.samples == 3 * 42
    assert payload.nbytes <= header.nbytes + 4 * header.levels + 64 * 3 * header.moving + 3 * 42
    whole = coder.decode(payload, ChunkPart((10, 6, 7)), encoding, NUMBA, what=np.dtype("int16"))
    assert whole.shape == (10, 6, 7) and not whole[3:].any()
    np.testing.assert_array_equal(
        whole[:3],
        coder.decode(
            encoded(values, encoding), ChunkPart((3, 6, 7)), encoding, NUMBA, what=np.dtype("int16")
        ),
    )
    with pytest.raises(CorruptDataError, match="holds 3 frames; 4"):
        coder.decode(payload, ChunkPart((10, 6, 7), 2, 4), encoding, NUMBA)


def test_any_memory_order_gives_the_same_bytes():
    values = movie("uint16", (4, 24, 30))
    encoding = Encoding(layout="compact", noise=CAMERA, dither=1)
    expected = encoded(values, encoding).tobytes()
    spread = np.zeros((8, 24, 60), "uint16")
    spread[::2, :, ::2] = values
    backwards = values[::-1, ::-1].copy()[::-1, ::-1]
    for same in (np.asfortranarray(values), spread[::2, :, ::2], backwards):
        assert not same.flags.c_contiguous
        assert encoded(same, encoding).tobytes() == expected


def test_an_altered_residual_anywhere_is_found():
    values = movie("uint16", (4, 6, 7))
    for name in MADE:
        encoding = Encoding(layout="compact", noise=CAMERA, predictor=MADE[name])
        payload = encoded(values, encoding)
        for position in range(unpack(payload)[0].nbytes, payload.size):
            for flip in (1, 0x80):
                bad = payload.copy()
                bad[position] ^= flip
                with pytest.raises(
                    CorruptDataError, match="checksum|its header describes|add up|weights of a chunk's frames"
                ):
                    coder.decode(bad, ChunkPart(values.shape), encoding, NUMBA)


@pytest.mark.parametrize(
    "changes",
    [
        {"step": 0.25},
        {"noise": NoiseModel(gain=2.0, offset=100.0, variance=5.0)},
        {"dtype": "int16"},
        {"exact": True},
        {"dither": 0},
        {"noise": NoiseModel(gain=2.1, offset=100.0, variance=4.0)},
    ],
)
def test_a_chunk_of_another_movie_is_refused(changes):
    values = movie("uint16", (4, 6, 7))
    encoding = Encoding(layout="compact", noise=CAMERA)
    payload = encoded(values, encoding)
    with pytest.raises(CorruptDataError, match="its store says"):
        coder.decode(payload, ChunkPart(values.shape), encoding.but(**changes), NUMBA)
    with pytest.raises(CorruptDataError, match="its store says"):
        coder.decode(payload, ChunkPart((4, 7, 6)), encoding, NUMBA)
    # Predictor and compressor are the chunk's own business.
    coder.decode(payload, ChunkPart(values.shape), encoding.but(predictor=Predictor(name="full")), NUMBA)


def test_exact_values_too_far_apart_are_refused_when_they_are_stored():
    encoding = Encoding(layout="compact", dtype="int64", noise=NoiseModel(gain=1e9), exact=True)
    with pytest.raises(InvalidInputError, match="lossless"):
        encoded(np.array([[[0, 2**32]]]), encoding)
