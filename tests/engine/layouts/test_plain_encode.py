"""Labels by compiled calls: the same chunks as by the reference."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.blosc import Compressor, compression, seal_holds
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.layouts import plain
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.buffers import Buffers
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.pool import Pool

CAMERA = NoiseModel(gain=20.0, offset=10.0, variance=30.0)
SMALL = Compressor(blocksize=1 << 16)


def encoders(dtype, **settings):
    """The compiled layout, and one that makes labels run by run in Python."""
    settings = {"compressor": SMALL, "movie_id": "89abcdef", **settings}
    encoding = Encoding(layout="plain", noise=CAMERA, dtype=dtype, **settings)
    return (layout_for(encoding, get_backend(backend)) for backend in ("numba", "numpy"))


@pytest.fixture
def results(monkeypatch):
    """Results of compiled calls; each call compresses a block."""
    results, make = [], plain.frames_of_labels

    def counted(*values):
        frame_of = make(*values)

        def frame(*arguments):
            results.append(frame_of(*arguments))
            return results[-1]

        return frame

    monkeypatch.setattr(plain, "frames_of_labels", counted)
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


def test_labels_that_hardly_compress_are_made_in_python(results):
    values = np.random.default_rng(1).integers(0, 255, (200, 50, 61), "uint8")
    settings = {"step": 0.3, "dither": 5, "compressor": Compressor.parse("zstd-1-noshuffle-65536")}
    compiled, reference = encoders("uint8", **settings)
    expected = reference.encode(values, values.shape, Resources())
    assert compiled.encode(values, values.shape, Resources()) == expected
    assert [frame is None for frame in results] == [True]
