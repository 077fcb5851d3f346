"""What may be appended: only frames that are sure to encode, so that none is acknowledged in vain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.backend import Backend
from photon_gpu.encoding import Encoding
from photon_gpu.errors import InvalidInputError, UnsupportedTypeError
from photon_gpu.forward import extent

_LARGEST_CODE = 1 << 31


def fetch_of(frames: Any) -> Callable[[], NDArray[Any]] | None:
    """What brings frames from a CUDA device; None where they are on the host.

    CuPy is not imported: an array that lies on a device brings its own ``get``.
    """
    if not hasattr(frames, "__cuda_array_interface__"):
        return None
    if not callable(get := getattr(frames, "get", None)):
        raise UnsupportedTypeError(
            f"{type(frames).__name__} lies on a CUDA device and has no get(); give a CuPy array "
            "(cupy.asarray takes it without a copy) or a NumPy array"
        )
    return get


class Gate:
    """Checks frames before they are taken.

    Parameters
    ----------
    frame_shape : tuple of int
    dtype : numpy.dtype
    layout : str
    backend : Backend

    Notes
    -----
    Whatever encoding could refuse is refused here: other shapes and dtypes, NaN and infinity,
    negatives under a photon counter's model, values whose codes leave 32 bits.
    """

    def __init__(self, frame_shape: tuple[int, ...], dtype: np.dtype, layout: str, backend: Backend) -> None:
        self._shape, self._dtype, self._backend = frame_shape, dtype, backend
        self._any_value = layout == "lossless"
        self._encoding: Encoding | None = None

    def expect(self, encoding: Encoding | None) -> None:
        """Check by this encoding; before its noise model is known only what no model could encode is refused."""
        self._encoding = encoding

    def block(self, frames: Any) -> NDArray[Any]:
        """``(n, *frame_shape)`` in the recording's dtype, or an error that says what arrived."""
        fetch = fetch_of(frames)
        found = np.asarray(frames) if fetch is None else frames
        if found.dtype != self._dtype and found.dtype.newbyteorder("=") != self._dtype:
            raise UnsupportedTypeError(
                f"frames are {found.dtype}; this recording is of {self._dtype}: nothing is cast unasked"
            )
        if found.shape != self._shape and (found.shape[1:] != self._shape or not found.shape[0]):
            raise InvalidInputError(
                f"frames of shape {found.shape}; this recording takes {self._shape} or (n, *{self._shape})"
            )
        found = (found if fetch is None else fetch()).astype(self._dtype, copy=False)
        return found[np.newaxis] if found.shape == self._shape else found

    def check(self, block: NDArray[Any], first_frame: int) -> None:
        """Whether every value is sure to encode."""
        if self._any_value:
            return
        encoding = self._encoding
        noise = None if encoding is None else encoding.noise
        found = extent(block, self._backend, noise=noise, first_frame=first_frame)
        if encoding is None or self._dtype.itemsize < 4:
            return
        table = encoding.table()
        codes = [table.code(end, phase) for end in (found.low, found.high) for phase in range(table.phases)]
        if max(abs(code) for code in codes) >= _LARGEST_CODE:
            raise InvalidInputError(
                f"values from {found.low} to {found.high} in frames from {first_frame} have codes beyond 32 bits "
                f"under {noise}: use layout='lossless'"
            )
        if encoding.exact and max(abs(found.low), abs(found.high)) >= _LARGEST_CODE:
            raise InvalidInputError(
                f"values from {found.low} to {found.high} in frames from {first_frame}; this recording began with "
                "values small enough to be stored exactly, and takes up to 2**31: use layout='lossless'"
            )
