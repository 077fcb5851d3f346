"""The kernels under the address, undefined-behaviour and thread sanitizers. No GPU code is run.

A sanitizer's runtime must be there before Python starts, so each runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RUNTIMES = {"address": ("libasan.so", "libubsan.so"), "thread": ("libtsan.so",)}


def runtime(name: str) -> str:
    """Path of a runtime library of g++; empty where it has none."""
    result = subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    path = result.stdout.strip()
    return os.path.realpath(path) if Path(path).is_absolute() else ""


def run_sanitized(sanitizer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python ARGUMENTS`` with kernels built and watched by a sanitizer."""
    libraries = [runtime(name) for name in RUNTIMES[sanitizer]]
    if not all(libraries):
        pytest.skip(f"g++ has no {sanitizer} sanitizer here")
    environment = {
        **os.environ,
        "PHOTON_GPU_HOST_SANITIZER": sanitizer,
        "LD_PRELOAD": ":".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": "halt_on_error=1",
    }
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
    )


@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_every_kernel_is_clean(sanitizer: str) -> None:
    brief = ["--brief"] if sanitizer == "thread" else []
    run = run_sanitized(sanitizer, "-m", "tests.kernels.cuda.every_kernel", *brief)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]
    assert "kernels ran clean" in run.stdout


@pytest.mark.parametrize(
    "sanitizer, broken, message",
    [
        ("address", "out[threadIdx.x + 1] = 1;", "heap-buffer-overflow"),
        ("address", "SHARED(int, a, 256); a[threadIdx.x + 1] = 1;", "heap-buffer-overflow"),
        ("address", "*(long long*)((char*)out + 4) = threadIdx.x;", "misaligned address"),
        ("address", "out[0] = 0x7fffffff; out[0] += 1 + (int)threadIdx.x;", "signed integer overflow"),
        ("thread", "out[0] += threadIdx.x;", "data race"),
        (
            "thread",
            "SHARED(int, a, 256); a[threadIdx.x] = 1; out[threadIdx.x] = a[255 - threadIdx.x];",
            "data race",
        ),
        ("thread", "if (threadIdx.x == 0) out[0] += 1;", "data race"),
        (
            "thread",
            "SHARED(int, a, 8); if (threadIdx.x < 8) a[threadIdx.x] = 0; __syncthreads(); "
            "a[threadIdx.x % 8] += 1; __syncthreads();"
            " out[threadIdx.x] = a[0];",
            "data race",
        ),
        # After a barrier or a shuffle no less: fibers that were destroyed between blocks hid these.
        ("thread", "__syncthreads(); if (threadIdx.x == 0) out[0] += 1;", "data race"),
        (
            "thread",
            "int v = __shfl_down_sync(~0u, (int)threadIdx.x, 16); if (threadIdx.x == 0) out[0] += v;",
            "data race",
        ),
        # A shuffle orders nothing but what it exchanges.
        (
            "thread",
            "SHARED(int, a, 256); a[threadIdx.x] = 1; int v = __shfl_down_sync(~0u, 1, 1); "
            "out[threadIdx.x] = v + a[threadIdx.x ^ 1];",
            "data race",
        ),
    ],
)
def test_the_sanitizers_see(sanitizer: str, broken: str, message: str) -> None:
    """Planted faults for each sanitizer: past global and shared memory, races within and between blocks."""
    program = (
        "import ctypes, numpy as np; from tests.support.cuda.on_cpu import HostModule\n"
        "memory = ctypes.CDLL(None).malloc; memory.restype = ctypes.c_void_p; at = memory(1024)\n"
        'kernel = \'#define THREADS 256\\nextern "C" __global__ void __launch_bounds__(256, 1) '
        "k(int* out) { %s }'\n"
        f"HostModule(kernel % {broken!r}, {sanitizer!r}).launch('k', (2,), (256,), [at])"
    )
    run = run_sanitized(sanitizer, "-c", program)
    assert run.returncode != 0 and message in run.stderr, run.stderr[-3000:]
