"""Call kernels of the CUDA twin with host arrays, on the stand-in."""

from __future__ import annotations

from typing import Any

import numpy as np


class Device:
    """Kernels of the twin under test, called with host arrays."""

    def __init__(self, kernels: Any, cupy: Any) -> None:
        self.kernels, self.cupy = kernels, cupy

    def put(self, host: np.ndarray, *, skew: int = 0, apart: int = 0) -> Any:
        """Copy to the device: ``skew`` items off an aligned address, ``apart`` items between frames."""
        frames, pixels = (1, host.size) if host.ndim == 1 else (host.shape[0], int(np.prod(host.shape[1:])))
        stored = np.zeros(skew + frames * (pixels + apart), host.dtype)
        rows = stored[skew:].reshape(frames, pixels + apart)
        rows[:, :pixels] = host.reshape(frames, pixels)
        device = self.cupy.asarray(stored)[skew:].reshape(frames, pixels + apart)
        if apart:
            return device[:, :pixels]
        return device.reshape(host.shape)

    def empty(self, shape: tuple[int, ...], dtype: Any, *, skew: int = 0, apart: int = 0) -> Any:
        garbage = np.frombuffer(b"\x6b" * (int(np.prod(shape)) * np.dtype(dtype).itemsize), dtype)
        return self.put(garbage.reshape(shape), skew=skew, apart=apart)

    @staticmethod
    def get(array: Any) -> np.ndarray:
        if array.flags.c_contiguous:
            return array.get()
        return np.stack([array[t].get() for t in range(array.shape[0])])


def equal(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)
