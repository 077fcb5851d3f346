"""Check frames before a recording accepts them, so that every acknowledged frame can be encoded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.quantize import Extent, extent
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError, UnsupportedTypeError

_LARGEST_CODE = 1 << 31
_PHOTON_COUNTER = NoiseModel()


def fetch_of(frames: Any) -> Callable[[], NDArray[Any]] | None:
    """Return a function that copies frames from a CUDA device; None if they are on the host.

    CuPy is not imported, because an array on a device has its own ``get``.
    """
    if not hasattr(frames, "__cuda_array_interface__"):
        return None
    if not callable(get := getattr(frames, "get", None)):
        raise UnsupportedTypeError(
            f"{type(frames).__name__} lies on a CUDA device and has no get(); give a CuPy array "
            "(cupy.asarray takes it without a copy) or a NumPy array"
        )
    return get


class FrameCheck:
    """Check of the frames of a recording, before they are accepted.

    Parameters
    ----------
    frame_shape : tuple of int
    dtype : numpy.dtype
    chunk_frames : int
        Frames of a chunk: its values are encoded together, so they are checked together.
    backend : Backend
    channel_axis : int, optional
        Axis of the movie along which values are checked channel by channel.

    Notes
    -----
    It refuses what encoding would refuse: other shapes and dtypes, NaN and infinity, negatives under a photon
    counter's model, and values that span more codes than a chunk holds. Until a layout is known, it refuses
    values that no quantizing layout could hold, and remembers the range of values of each chunk.
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        dtype: np.dtype,
        chunk_frames: int,
        backend: Backend,
        channel_axis: int | None = None,
    ) -> None:
        self._axis = channel_axis
        self._shape, self._dtype, self._backend = frame_shape, dtype, backend
        self._chunk_frames = chunk_frames
        self._layout: Layout | None = None
        self._lock = threading.Lock()  # frames may arrive while another thread chooses the layout
        # By chunk and channel; only the last chunk once a layout is known.
        self._extents: dict[int, tuple[Extent, ...]] = {}

    def expect(self, layout: Layout) -> None:
        """Check all further frames against this layout.

        Raises
        ------
        InvalidInputError
            Frames accepted earlier do not fit it, or its model suits no value of the dtype. Then the
            check is unchanged.
        """
        for encoding in (one.encoding for one in layout.channels):
            if encoding.layout != "lossless" and encoding.table().has_lut:
                encoding.table().luts()
        with self._lock:
            for extents in self._extents.values():
                _check(layout, extents)
            self._layout = layout

    def block(self, frames: Any) -> NDArray[Any]:
        """Return frames as ``(n, *frame_shape)`` in the recording's dtype.

        Raises
        ------
        UnsupportedTypeError, InvalidInputError
            They have another dtype or shape.
        """
        fetch = fetch_of(frames)
        block = np.asarray(frames) if fetch is None else frames
        if block.dtype != self._dtype and block.dtype.newbyteorder("=") != self._dtype:
            raise UnsupportedTypeError(
                f"the frames are {block.dtype}; this recording takes {self._dtype}, and casts no frames"
            )
        if block.shape != self._shape and (block.shape[1:] != self._shape or not block.shape[0]):
            raise InvalidInputError(
                f"the frames have shape {block.shape}; this recording takes {self._shape} "
                f"or (n, *{self._shape})"
            )
        block = (block if fetch is None else fetch()).astype(self._dtype, copy=False)
        return block[np.newaxis] if block.shape == self._shape else block

    def admit(self, block: NDArray[Any], first_frame: int) -> None:
        """Check frames and accept them.

        Raises
        ------
        InvalidInputError
            A value may fail to encode.
        """
        with self._lock:
            layout = self._layout
            if layout is not None and layout.encoding.layout == "lossless":
                return
            joined: dict[int, tuple[Extent, ...]] = {}
            start = 0
            while start < len(block):
                first = first_frame + start
                number, inside = divmod(first, self._chunk_frames)
                stop = min(start + self._chunk_frames - inside, len(block))
                extents = self._extents_of(block[start:stop], layout, first)
                earlier = self._extents.get(number)
                if earlier is not None:
                    extents = tuple(_joined(pair) for pair in zip(extents, earlier, strict=True))
                if layout is not None and extents != earlier:
                    _check(layout, extents, first)
                joined[number], start = extents, stop
            self._extents = joined if layout is not None else self._extents | joined

    def _extents_of(self, block: NDArray[Any], layout: Layout | None, first: int) -> tuple[Extent, ...]:
        """Extent of each channel of some frames."""
        parts = [block] if self._axis is None else list(np.moveaxis(block, self._axis, 0))
        models = [None] if layout is None else [one.encoding.noise for one in layout.channels]
        each = models if len(models) == len(parts) else models[:1] * len(parts)
        return tuple(
            extent(np.ascontiguousarray(part), self._backend, noise=noise, first_frame=first)
            for part, noise in zip(parts, each, strict=True)
        )


def _joined(extents: Sequence[Extent]) -> Extent:
    return Extent(min(one.low for one in extents), max(one.high for one in extents))


def _check(layout: Layout, extents: tuple[Extent, ...], first_frame: int | None = None) -> None:
    """Raise InvalidInputError if a chunk with these values cannot be encoded."""
    channels = layout.channels
    each = extents if len(channels) == len(extents) else (_joined(extents),)
    for one, values in zip(channels, each, strict=True):
        _check_channel(one, values, first_frame)


def _check_channel(layout: Layout, values: Extent, first_frame: int | None) -> None:
    if layout.encoding.layout == "lossless":
        return
    where = (
        "frames taken before the layout was chosen" if first_frame is None else f"frames from {first_frame}"
    )
    if values.low < 0 and layout.encoding.noise == _PHOTON_COUNTER:
        raise InvalidInputError(
            f"{where} have values down to {values.low:g}; a photon counter has no negative values"
        )
    try:
        base, top = layout.check(values)
    except InvalidInputError as error:
        raise InvalidInputError(f"{where} do not fit a chunk: {error}") from error
    if max(abs(base), abs(base + top)) >= _LARGEST_CODE:
        raise InvalidInputError(
            f"{where} have values from {values.low:g} to {values.high:g}, whose codes leave 32 bits under "
            f"{layout.encoding.noise}: use layout='lossless'"
        )
