"""Labels by compiled calls: the same chunks as by the reference."""

from __future__ import annotations

import numcodecs.blosc
import numpy as np
import pytest
import zstandard

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.blosc import Compressor, compression, seal_holds
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart
from photon_gpu.engine.layouts import plain
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.buffers import Buffers
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.pool import Pool
from photon_gpu.errors import CorruptDataError
from photon_gpu.kernels.zstd_huffman import cpu

CAMERA = NoiseModel(gain=20.0, offset=10.0, variance=30.0)
SMALL = Compressor(blocksize=1 << 16)


def encoders(dtype, **settings):
    """The compiled layout, and one that makes labels run by run in Python."""
    settings = {"noise": CAMERA, "compressor": SMALL, "movie_id": "89abcdef", **settings}
    encoding = Encoding(layout="plain", dtype=dtype, **settings)
    return (layout_for(encoding, get_backend(backend)) for backend in ("numba", "numpy"))


@pytest.fixture
def results(monkeypatch):
    """Results of compiled calls; each call compresses a block."""
    results, make = [], plain.frames_of_values

    def counted(*values):
        frame_of = make(*values)

        def frame(*arguments):
            results.append(frame_of(*arguments))
            return results[-1]

        return frame

    monkeypatch.setattr(plain, "frames_of_values", counted)
    monkeypatch.setattr(compression, "_COMPILED_AT_ONCE", 1 << 16)
    return results


@pytest.mark.parametrize("dither", [None, 3])
@pytest.mark.parametrize("dtype", ["uint8", "int16"])
@pytest.mark.parametrize("parts", [1, 2])
def test_compiled_chunks_are_those_of_the_reference(results, dtype, dither, parts):
    values = np.random.default_rng(1).normal(100, 20, (11, 50, 61)).astype(dtype)
    compiled, reference = encoders(dtype, dither=dither)
    chunk = (14, 50, 61)  # the last chunk of a movie is filled up with zeros
    expected = reference.encode(values, chunk, Resources())
    with Pool("photon-test", 2) as pool:
        split = pool.split(0, 1, 1)
        resources = Resources(buffers=Buffers(), **({"split": split} if parts > 1 else {}))
        assert compiled.encode(values, chunk, resources) == expected
    assert seal_holds(expected)
    assert len(results) >= parts and all(one is not None for one in results)


def photons(shape, dtype="uint16", light=100.0):
    return np.random.default_rng(1).normal(light, 20, shape).clip(0, 255).astype(dtype)


def streams_of(frame, block):
    """Bytes of each of the eight streams of a block of a Blosc frame."""
    at, streams = int.from_bytes(frame[16 + 4 * block :][:4], "little"), []
    for _ in range(8):
        size = int.from_bytes(frame[at : at + 4], "little")
        streams.append(bytes(frame[at + 4 : at + 4 + size]))
        at += 4 + size
    return streams


def planes_of(frame, block, size):
    """The eight planes of bytes of a block, opened by numcodecs."""
    labels = np.frombuffer(numcodecs.blosc.decompress(frame), np.uint8)[block * size : (block + 1) * size]
    return labels.reshape(-1, 8).T


@pytest.mark.parametrize("step", [0.5, 1.0, 0.75, 0.25])
def test_other_decoders_find_the_labels(step):
    """By the streams of all planes, numcodecs opens the labels that Blosc alone would have stored."""
    values = photons((11, 50, 61))
    compiled, _ = encoders("uint16", step=step)
    _, alone = encoders("uint16", step=step, compressor=Compressor(clevel=5))
    frame, expected = (one.encode(values, (14, 50, 61), Resources()) for one in (compiled, alone))
    assert frame[2] == 0x81 and expected[2] & 0x10
    assert numcodecs.blosc.decompress(frame) == numcodecs.blosc.decompress(expected)


def test_a_stream_holds_each_plane():
    """Planes that repeat a byte take 14 bytes, those of noise have Huffman codes only."""
    compiled, _ = encoders("uint16")
    frame = compiled.encode(photons((11, 50, 61)), (11, 50, 61), Resources())
    streams, planes = streams_of(frame, 1), planes_of(frame, 1, 1 << 16)
    opened = [zstandard.ZstdDecompressor().decompressobj().decompress(stream) for stream in streams]
    assert opened == [plane.tobytes() for plane in planes]
    alike = [len(set(plane)) == 1 for plane in opened]
    assert alike[:6] == [True] * 6 and not alike[6]
    assert {len(stream) for stream, same in zip(streams, alike, strict=True) if same} == {10}
    out = np.empty(1 << 13, np.uint8)
    assert cpu.decode_frame(np.frombuffer(streams[6], np.uint8), out) == out.size


def test_planes_of_repeats_or_of_one_byte_are_left_to_zstd():
    """Its matches are shorter there than one bit for each byte."""
    repeated = np.tile(photons((1, 50, 61)), (40, 1, 1))
    bright = np.where(photons((40, 50, 61)) < 150, 100, 1000).astype("uint16")
    for values in (repeated, bright):
        compiled, _ = encoders("uint16", compressor=Compressor(blocksize=1 << 19))
        _, alone = encoders("uint16", compressor=Compressor(clevel=2, blocksize=1 << 19))
        sizes = [len(one.encode(values, values.shape, Resources())) for one in (compiled, alone)]
        assert sizes[0] < 1.02 * sizes[1]
        out = np.empty(1 << 16, np.uint8)
        frame = compiled.encode(values, values.shape, Resources())
        assert cpu.decode_frame(np.frombuffer(streams_of(frame, 0)[6], np.uint8), out) == -1


@pytest.mark.parametrize("step", [0.35, 1 / 3])
def test_planes_that_repeat_each_other_stay_one_stream(step):
    compiled, reference = encoders("uint16", step=step)
    values = photons((11, 50, 61))
    frame = compiled.encode(values, values.shape, Resources())
    assert frame[2] & 0x10 and frame == reference.encode(values, values.shape, Resources())


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
@pytest.mark.parametrize("dither", [None, 3])
def test_any_part_of_the_planes_decodes(dtype, dither):
    """Whole blocks, the short last one, rows, and one sample: the same as from one stream per block."""
    values = photons((11, 50, 61)).astype(dtype)
    compiled, _ = encoders(dtype, dither=dither)
    _, alone = encoders(dtype, dither=dither, compressor=Compressor(clevel=5))
    chunk = (14, 50, 61)
    frame, other = (one.encode(values, chunk, Resources()) for one in (compiled, alone))
    parts = [ChunkPart(chunk), ChunkPart(chunk, 3, 5), ChunkPart(chunk, 10, 11, (49, 50))]
    for part in [*parts, ChunkPart(chunk, 13, 14), ChunkPart(chunk, 2, 9, (7, 9))]:
        for what in (np.dtype(dtype), STABILIZED):
            top, bottom = part.row_range
            pair = [
                one.decode_part(data, part, what)[:, top:bottom]
                for one, data in ((compiled, frame), (alone, other))
            ]
            np.testing.assert_array_equal(*pair)


def test_altered_streams_are_refused_or_opened():
    """No altered byte crashes the decoder or makes it return other samples than Blosc does."""
    compiled, reference = encoders("uint16", movie_id=None)
    values = photons((11, 50, 61))
    frame = bytearray(compiled.encode(values, values.shape, Resources()))
    rng, part = np.random.default_rng(5), ChunkPart(values.shape)
    for at in rng.integers(16, len(frame), 300):
        altered = bytearray(frame)
        altered[at] ^= 1 << int(rng.integers(8))
        decoded = []
        for one in (compiled, reference):
            try:
                decoded.append(one.decode(bytes(altered), part, np.dtype("uint16")).tobytes())
            except CorruptDataError:
                decoded.append("refused")
        assert decoded[0] == decoded[1]


def test_labels_that_hardly_compress_are_stored_as_blosc_stores_them(results):
    values = np.random.default_rng(1).integers(0, 1 << 26, (200, 50, 6), "uint32")
    compiled, reference = encoders("uint32", noise=NoiseModel(), step=1 / 64)
    expected = reference.encode(values, values.shape, Resources())
    assert compiled.encode(values, values.shape, Resources()) == expected
    assert not results
