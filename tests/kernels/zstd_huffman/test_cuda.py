"""The CUDA kernels that write Huffman-only frames, executed by g++ behind a shim, against the CPU's.

No GPU code is run here (tests/engine/gpu/test_on_gpu.py does, where there is one).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from photon_gpu.kernels.zstd_huffman import cpu, reference
from tests.support import cupy_standin as standin
from tests.support.huffman_bytes import BYTES, LENGTHS, LONG, functions, in_blosc, made


class Device:
    """The kernels on the stand-in."""

    def __init__(self, cupy: Any, cuda: Any) -> None:
        self.cupy, self.cuda = cupy, cuda

    def in_blosc(self, data: np.ndarray, length: int, block: int, skew: int = 0) -> bytes:
        """Frame of ``data``, after looking for bytes written beyond the most that there may be."""
        most = self.cuda.most_blosc_bytes(data.size, length, block)
        fenced = self.cupy.asarray(np.full(most + 64 + skew, 7, np.uint8))
        unaligned = self.cupy.asarray(np.append(np.zeros(skew, np.uint8), data))[skew:]
        out = fenced[32 + skew : 32 + skew + most]
        size = self.cuda.encode_blosc(unaligned, length, block, out)
        around = fenced.get()
        assert (around[: 32 + skew] == 7).all() and (around[32 + skew + most :] == 7).all()
        return around[32 + skew : 32 + skew + size].tobytes()


@pytest.fixture
def device() -> Iterator[Device]:
    with standin.installed(5) as machine:  # which runs each kernel in another order
        import cupy

        yield Device(cupy, importlib.import_module("photon_gpu.kernels.zstd_huffman.cuda"))
        assert machine.launched, standin.NOTICE


def test_the_functions_are_those_of_the_reference_in_the_same_order(device: Device) -> None:
    every = dict(functions(reference))
    ours = dict(functions(device.cuda))
    assert list(ours) == [name for name in every if name in ours]
    for name, arguments in ours.items():
        assert arguments == every[name][: len(arguments)]
    assert (device.cuda.LONGEST, device.cuda.SYMBOLS) == (reference.LONGEST, reference.SYMBOLS)
    data = device.cupy.asarray(np.zeros(5, np.uint8))
    with pytest.raises(ValueError, match="does not fit the frame of 5 bytes"):
        device.cuda.encode_blosc(data, 5, 5, data)
    with pytest.raises(TypeError, match="data is int64; allowed are uint8"):
        device.cuda.encode_blosc(device.cupy.asarray(np.zeros(5, np.int64)), 5, 5, data)
    device.in_blosc(np.zeros(1, np.uint8), 1, 1)


@pytest.mark.parametrize("name", BYTES)
def test_the_bytes_are_those_of_the_cpu(device: Device, name: str) -> None:
    """Of several frames, the last of which is shorter, in blocks that are joined or not."""
    for size, length, block, skew in (
        (9000, 4096, 1024, 1),
        (5001, 3000, 700, 0),
        (70_000, 1 << 18, 1 << 15, 3),
    ):
        data = made(name, size)
        assert device.in_blosc(data, length, block, skew) == in_blosc(cpu, data, length, block).tobytes()


def test_contents_of_any_length(device: Device) -> None:
    names = list(BYTES)
    for number, size in enumerate((*LENGTHS, *LONG)):
        data = made(names[number % len(names)], size)
        if size:
            assert device.in_blosc(data, 1 << 18, 1 << 15) == in_blosc(cpu, data, 1 << 18, 1 << 15).tobytes()


def test_codes_of_any_counts(device: Device) -> None:
    """Few symbols and many, near and far, so that both forms of a description occur."""
    rng = np.random.default_rng(8)
    parts = []
    for symbols in (2, 3, 5, 17, 127, 128, 129, 130, 200, 256):
        for spread in (0.3, 2, 9):
            chosen = np.sort(rng.permutation(256)[:symbols])
            counts = np.ceil(np.exp(-np.arange(symbols) / (spread * symbols) * rng.uniform(1, 9)) * 2000)
            values = np.repeat(rng.permutation(chosen), counts.astype(int))
            parts.append(rng.permutation(np.resize(values, max(2048, 3 * symbols))[:2048]))
    for rare in (8, 16, 32, 64, 128):  # weights far from each other
        symbols = np.linspace(0, 255, rare + 1).astype(int)
        parts.append(
            rng.permutation(np.append(np.full(1024, symbols[0]), np.repeat(symbols[1:], 1024 // rare)))
        )
    parts.append(rng.integers(0, 256, 2048))  # a frame that does not shrink, among others
    data = np.concatenate(parts).astype(np.uint8)
    assert device.in_blosc(data, 2048, 2048) == in_blosc(cpu, data, 2048, 2048).tobytes()
