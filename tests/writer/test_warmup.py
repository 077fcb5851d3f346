"""Compilation is paid for once, and what an encode calls is compiled then."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.writer.warmup import warm_up


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("dither", [None, 5])
def test_the_second_time_is_free(layout, dtype, dither):
    encoding = Encoding(layout=layout, dtype=dtype, dither=dither, noise=NoiseModel(gain=2.0))
    for preset in ("fast", "balanced", "small"):
        assert warm_up(get_backend("numba"), encoding, preset) >= 0.0
        assert warm_up(get_backend("numba"), encoding, preset) == 0.0
        assert warm_up(get_backend("numba"), encoding.but(step=1.0), preset) == 0.0


def test_an_encode_compiles_nothing_after_it():
    """In a fresh process without Numba's cache: every signature that an 8-bit encode needs is there."""
    code = """
        import numpy as np, photon_gpu as pg
        from photon_gpu.engine.backend_choice import get_backend
        from photon_gpu.engine.codec.encoding import Encoding
        from photon_gpu.kernels import cpu
        from photon_gpu.writer.warmup import warm_up
        def compiled():
            return {n: len(f.signatures) for n, f in vars(cpu).items() if hasattr(f, "signatures")}
        noise = pg.NoiseModel(gain=2.0, offset=100.0)
        warm_up(get_backend("numba"), Encoding(layout="compact", noise=noise), "fast")
        before = compiled()
        values = np.random.default_rng(0).poisson(90, (20, 64, 64)).astype("uint16") + np.uint16(100)
        pg.encode(values, "memory://m.zarr", noise=noise, layout="compact", preset="fast", check=False)
        print([n for n, count in compiled().items() if count != before[n]])
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"
