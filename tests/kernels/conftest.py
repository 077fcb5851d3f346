"""The CUDA kernels on the stand-in, blocks and threads in several orders. No GPU code is run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.cuda import cupy_standin as standin
from tests.support.cuda.call_kernels import Device

ORDERS = 3 if not os.environ.get("PHOTON_GPU_HOST_SANITIZER") else 1


@pytest.fixture(params=range(ORDERS), ids=lambda seed: f"order{seed}")
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    with standin.installed(request.param) as machine:
        import cupy

        from photon_gpu.kernels import cuda

        yield Device(cuda, cupy)
        assert machine.launched, standin.NOTICE
