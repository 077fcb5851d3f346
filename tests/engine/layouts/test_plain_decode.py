"""Layout plain by compiled calls: the same samples and errors as by the reference, block by block."""

from __future__ import annotations

import numcodecs
import numpy as np
import pytest

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart, dtype_of
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.clipping_levels import ClippingLevels
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.errors import CorruptDataError

SHAPE = (9, 70, 61)  # three blocks of 128 KiB, the last one short, whose ends are no ends of frames
COUNTER, CAMERA = NoiseModel(), NoiseModel(gain=100.0, offset=90.0, variance=50.0)
SMALL = Compressor(blocksize=1 << 17)
VARIANTS = {
    "photon counts": (COUNTER, {}),
    "dither": (COUNTER, {"dither": 3}),
    "camera": (CAMERA, {}),
    "clipping levels": (CAMERA, {"clipping": ClippingLevels(low=80, high=2000)}),
    "a step without zeros in its bytes": (CAMERA, {"step": 0.3}),
    "float": (CAMERA, {"dtype": "float32"}),
    "bit shuffle": (CAMERA, {"compressor": Compressor.parse("zstd-5-bitshuffle-131072")}),
    "lz4": (CAMERA, {"compressor": Compressor.parse("lz4-5-shuffle-131072")}),
}


def movie(noise, dtype="uint16", seed=0):
    light = np.linspace(0.1, 20, SHAPE[0])[:, np.newaxis, np.newaxis]
    photons = np.random.default_rng(seed).poisson(light, SHAPE)
    return np.clip(noise.gain * photons + noise.offset, 80, 2000).astype(dtype)


def layouts(name):
    noise, changes = VARIANTS[name]
    options = {"dtype": "uint16", "compressor": SMALL, **changes}
    encoding = Encoding(layout="plain", noise=noise, **options)
    values = movie(noise, options["dtype"])
    return values, *(layout_for(encoding, get_backend(backend)) for backend in ("numba", "numpy"))


@pytest.mark.parametrize("name", VARIANTS)
def test_compiled_calls_decode_like_the_reference(name):
    values, compiled, reference = layouts(name)
    data = compiled.encode(values, SHAPE, Resources())
    for what in (STABILIZED, values.dtype, np.dtype("float64"), np.dtype("uint8")):
        if what == "uint8" and values.max() > 255:
            continue
        for start, stop in ((8, 9), (0, 9), (2, 5), (0, 9)):  # codes that are new, and then known
            part = ChunkPart(SHAPE, start, stop)
            decoded = compiled.decode(data, part, what)
            np.testing.assert_array_equal(decoded, reference.decode(data, part, what))


def test_the_call_itself_decodes_values_of_few_codes(monkeypatch):
    values, compiled, reference = layouts("clipping levels")
    data = compiled.encode(values, SHAPE, Resources())
    monkeypatch.setattr(compiled, "render", None)  # by which the caller decodes a block itself
    for what in (STABILIZED, values.dtype):
        decoded = compiled.decode(data, ChunkPart(SHAPE), what)
        np.testing.assert_array_equal(decoded, reference.decode(data, ChunkPart(SHAPE), what))


def test_the_call_itself_decodes_once_codes_are_known(monkeypatch):
    values, compiled, reference = layouts("float")
    data = compiled.encode(values, SHAPE, Resources())
    compiled.decode(data, ChunkPart(SHAPE), values.dtype)
    monkeypatch.setattr(compiled, "render", None)
    decoded = compiled.decode(data, ChunkPart(SHAPE), values.dtype)
    np.testing.assert_array_equal(decoded, reference.decode(data, ChunkPart(SHAPE), values.dtype))


@pytest.mark.parametrize("name", ["clipping levels", "dither", "float"])
@pytest.mark.parametrize("rows", [(0, 1), (30, 33), (69, 70), (0, 70)])
def test_rows_are_decoded_like_the_reference_and_no_others(name, rows):
    values, compiled, reference = layouts(name)
    data = compiled.encode(values, SHAPE, Resources())
    for start, stop in ((0, 9), (4, 5), (7, 9)):
        part = ChunkPart(SHAPE, start, stop, rows)
        for what in (STABILIZED, values.dtype):
            compiled.decode_part(data, part, what)  # after which all codes are known
            out = np.full(part.shape, 77, dtype_of(what))
            compiled.decode_part(data, part, what, out=out)
            expected = np.full(part.shape, 77, out.dtype)
            expected[:, slice(*rows)] = reference.decode_part(data, part, what)[:, slice(*rows)]
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("camera", 0.25),
        ("camera", 1e300),
        ("camera", np.nan),
        ("camera", -np.inf),
        ("clipping levels", 0.25),
    ],
)
def test_a_label_that_no_code_has_is_an_error(name, error):
    values, compiled, _ = layouts(name)
    data = compiled.encode(values, SHAPE, Resources())
    compiled.decode(data, ChunkPart(SHAPE), values.dtype)
    labels = np.frombuffer(numcodecs.Blosc().decode(data), "<f8").copy()
    for sample in (0, 20_000, labels.size - 1):
        altered = labels.copy()
        altered[sample] += error
        bad = numcodecs.Blosc(cname="zstd", clevel=1, shuffle=1, blocksize=1 << 17).encode(altered)
        with pytest.raises(CorruptDataError, match="1 of .* values of a chunk are not multiples"):
            compiled.decode(bad, ChunkPart(SHAPE), values.dtype)


def test_a_damaged_block_is_an_error_or_decodes_as_the_reference_decodes_it():
    values, compiled, reference = layouts("camera")
    data = compiled.encode(values, SHAPE, Resources())
    compiled.decode(data, ChunkPart(SHAPE), values.dtype)
    rng = np.random.default_rng(1)
    for _ in range(150):
        bad = bytearray(data)
        bad[rng.integers(0, 40 if rng.random() < 0.3 else len(bad))] ^= 1 << rng.integers(0, 8)
        results = []
        for layout in (compiled, reference):
            try:
                results.append(layout.decode(bytes(bad), ChunkPart(SHAPE), values.dtype).tobytes())
            except CorruptDataError:
                results.append(None)
        assert results[0] == results[1]
