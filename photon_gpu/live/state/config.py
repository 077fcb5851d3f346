"""Frame shape, dtype and settings of a recording, in the form that its spool stores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from photon_gpu.encode_settings import RecordSettings
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.code_table import supported_dtype
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.select.axes import check_letters, movie_order
from photon_gpu.writer.auto_noise import ACCEPTED_KEY, CHANNELS_KEY, KEY

OWN_ATTRIBUTES = ("recording_id", "lost_frames", KEY, CHANNELS_KEY, ACCEPTED_KEY)
"""Keys of ``.zattrs`` that only recordings have."""

_FEWEST_CHUNKS = 3  # one that fills, one that is being encoded, one that is ready
_NOT_KEPT = ("noise", "backend", "workers", "budget_bytes", "attributes", "with_decoder", "pyramid")
"""Settings that the config in the spool leaves out: they concern the process, or are saved elsewhere."""

_SINCE = {"axes": None, "accept_processed": False, "peaks": "auto"}
"""Settings that earlier releases do not know, left out of the spool at these values."""

_IGNORED = {"plain": ("predictor",), "lossless": ("predictor", "step", "dither")}
"""Settings without effect, by layout; earlier releases accepted and saved them with any value."""


@dataclass(frozen=True, kw_only=True)
class LiveConfig(RecordSettings):
    """Shape and dtype of the frames of a recording, and its settings.

    :class:`~photon_gpu.live.LiveWriter` explains the settings; ``chunk_frames`` is never None here.

    Examples
    --------
    >>> config = LiveConfig(frame_shape=(512, 512), dtype="int16", queue_bytes=100e6)
    >>> config.chunk_frames, config.chunks
    (47, 4)
    >>> LiveConfig.from_dict(config.to_dict()) == config
    True
    """

    frame_shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("frame_shape", _shape(self.frame_shape))
        self._set("dtype", supported_dtype(self.dtype).name)
        self._set("chunk_frames", self._chunk_frames())
        if self.axes is not None:
            self._set("axes", _movie_axes(self.axes, len(self.frame_shape) + 1))
        models = len(self.stated_models)
        if models > 1 and models != self.channels_of_a_frame:
            raise InvalidInputError(
                f"noise has {models} models; frames of shape {self.frame_shape} with axes {self.axes!r} have "
                f"{self.channels_of_a_frame} channels"
            )

    @property
    def channel_axis(self) -> int | None:
        """Axis of the channels in the movie; None if there is only one channel."""
        axis = self.axes.find("c") if self.axes else -1
        return axis if axis > 0 and self.frame_shape[axis - 1] > 1 else None

    @property
    def channels_of_a_frame(self) -> int:
        """Number of channels."""
        return 1 if self.channel_axis is None else self.frame_shape[self.channel_axis - 1]

    @property
    def frame_nbytes(self) -> int:
        """Bytes of a frame."""
        return math.prod(self.frame_shape) * np.dtype(self.dtype).itemsize

    @property
    def frames_per_chunk(self) -> int:
        """``chunk_frames``, which is never None after validation."""
        assert self.chunk_frames is not None
        return self.chunk_frames

    @property
    def chunk_nbytes(self) -> int:
        """Bytes of a whole chunk of frames."""
        return self.frames_per_chunk * self.frame_nbytes

    @property
    def chunks(self) -> int:
        """Chunks that the queue holds."""
        return int(self.queue_bytes // self.chunk_nbytes)

    def chunk(self, frames: int | None = None) -> tuple[int, ...]:
        """Shape of a chunk."""
        return (frames or self.frames_per_chunk, *self.frame_shape)

    def encoding_of(
        self, noise: NoiseModel | tuple[NoiseModel | None, ...] | None, layout: str | None = None
    ) -> Encoding:
        """Return the encoding with a noise model, or with one per channel."""
        base = Encoding(
            layout=layout or self.layout,
            dtype=self.dtype,
            step=self.step,
            dither=self.dither,
            peaks=self.stated_peaks,
        )
        if not isinstance(noise, tuple):
            return base.but(noise=noise)
        axis = self.channel_axis
        if axis is None or len(noise) != self.channels_of_a_frame:
            raise InvalidInputError(
                f"{len(noise)} noise models arrived for {self.channels_of_a_frame} channels"
            )
        channels = tuple(base.but(noise=one) for one in noise)
        return replace(base, noise=None, channels=channels, channel_axis=axis)

    def check_estimate(self) -> None:
        """Check that the queue holds the frames that the noise is estimated from, which wait there."""
        room = (self.chunks - 1) * self.frames_per_chunk
        if self.estimate_frames > room:
            raise InvalidInputError(
                f"estimate_frames is {self.estimate_frames}; they wait in the queue, which holds {room} of "
                "them beside a chunk that fills: take fewer, or a larger queue_bytes"
            )

    def with_fewer(self) -> Self:
        """Return a copy with at most as many ``estimate_frames`` as fit the queue."""
        room = (self.chunks - 1) * self.frames_per_chunk
        return self.replace(estimate_frames=min(self.estimate_frames, room))

    def to_dict(self) -> dict[str, Any]:
        """Return the content that a spool stores, as a dictionary of JSON values."""
        kept = {name: value for name, value in super().to_dict().items() if name not in _NOT_KEPT}
        return {name: value for name, value in kept.items() if _SINCE.get(name, ()) != value}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`; it also reads the dictionaries of earlier releases."""
        ignored = _IGNORED.get(data.get("layout", "compact"), ())
        return super().from_dict({name: value for name, value in data.items() if name not in ignored})

    @classmethod
    def of(cls, settings: RecordSettings, frame_shape: tuple[int, ...], dtype: DTypeLike) -> Self:
        """Make the settings of a recording of frames with this shape and dtype."""
        shared = {one.name: getattr(settings, one.name) for one in fields(settings)}
        return cls(**shared, frame_shape=frame_shape, dtype=supported_dtype(dtype).name)

    def _chunk_frames(self) -> int:
        from photon_gpu.engine.backend_choice import get_backend

        layout = layout_for(Encoding(layout=self.layout, dtype=self.dtype), get_backend("numpy"))
        most = self.queue_bytes // (_FEWEST_CHUNKS * self.frame_nbytes)
        endless = (1 << 40, *self.frame_shape)
        frames = layout.chunk_frames(self.chunk_frames, endless)
        if self.chunk_frames is None:
            frames = min(frames, max(most, 1))
            if frames > 4:
                frames = min(frames, max(self.queue_bytes // (4 * self.frame_nbytes), 4))
        if frames > most:
            raise InvalidInputError(
                f"queue_bytes is {self.queue_bytes:,}; {_FEWEST_CHUNKS} chunks of {frames} frames must fit, "
                f"{_FEWEST_CHUNKS * frames * self.frame_nbytes:,} bytes: take fewer chunk_frames, or "
                f"a larger queue"
            )
        return frames


def _movie_axes(axes: str, dimensions: int) -> str:
    letters = check_letters(axes, dimensions, "axes")
    if movie_order(letters) != tuple(range(dimensions)):
        raise InvalidInputError(f"axes is {axes!r}; a recording has time first, rows and columns last")
    return letters


def _shape(shape: Sequence[int]) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in shape if not isinstance(size, bool) and size == int(size))
        well_formed = len(sizes) == len(tuple(shape)) and 2 <= len(sizes) <= 31 and min(sizes) >= 1
    except (TypeError, ValueError):
        well_formed = False
    if not well_formed:
        raise InvalidInputError(
            f"frame_shape is {shape!r}; at least (height, width), positive whole numbers, are needed"
        )
    return sizes
