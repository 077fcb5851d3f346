"""What a recording is: every parameter, validated once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.code_table import supported_dtype
from photon_gpu.errors import InvalidInputError
from photon_gpu.writer.auto_noise import KEY
from photon_gpu.writer.tuning import PRESETS

OWN_ATTRIBUTES = ("recording_id", "lost_frames", KEY)
"""Keys of ``.zattrs`` that only recordings have."""

DURABILITIES = ("frame", "chunk")
_ON_FULL = ("block", "raise")
_FEWEST_CHUNKS = 3  # one that fills, one that is encoded, one ready


@dataclass(frozen=True, kw_only=True)
class LiveConfig:
    """Parameters of a recording, all plain values; :class:`~photon_gpu.live.LiveWriter` explains them.

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
    layout: str = "compact"
    step: float = 0.5
    preset: str = "fast"
    predictor: str | None = None
    compressor: str | None = None
    dither: int | None = None
    chunk_frames: int | None = None
    durability: str = "chunk"
    on_full: str = "block"
    queue_bytes: int = 512_000_000
    estimate_frames: int = 100
    trust_noise: bool = False
    publish_seconds: float = 1.0
    close_seconds: float = 60.0
    check: bool = True

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "frame_shape", _shape(self.frame_shape))
        put(self, "dtype", supported_dtype(self.dtype).name)
        for name, allowed in (("durability", DURABILITIES), ("on_full", _ON_FULL), ("preset", PRESETS)):
            if getattr(self, name) not in allowed:
                raise InvalidInputError(
                    f"{name} is {getattr(self, name)!r}; allowed are {', '.join(allowed)}"
                )
        Encoding(layout=self.layout, dtype=self.dtype, step=self.step, dither=self.dither)
        if self.predictor is not None:
            Predictor(name=self.predictor)
        if self.compressor is not None:
            Compressor.parse(self.compressor)
        put(self, "queue_bytes", int(_number(self.queue_bytes, "queue_bytes", 1, 1e15)))
        put(self, "estimate_frames", int(_number(self.estimate_frames, "estimate_frames", 1, 1e9)))
        put(self, "publish_seconds", float(_number(self.publish_seconds, "publish_seconds", 0, 3600)))
        put(self, "close_seconds", float(_number(self.close_seconds, "close_seconds", 0, 1e9)))
        if not isinstance(self.check, bool):
            raise InvalidInputError(f"check is {self.check!r}; allowed are True and False while recording")
        put(self, "chunk_frames", self._chunk_frames())

    @property
    def frame_nbytes(self) -> int:
        """Bytes of a frame."""
        return math.prod(self.frame_shape) * np.dtype(self.dtype).itemsize

    @property
    def frames_per_chunk(self) -> int:
        """``chunk_frames``, once validated never None."""
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

    def check_estimate(self) -> None:
        """The frames that the noise is estimated from wait in the queue; they must fit."""
        room = (self.chunks - 1) * self.frames_per_chunk
        if self.estimate_frames > room:
            raise InvalidInputError(
                f"estimate_frames is {self.estimate_frames}; they wait in the queue, which holds "
                f"{room} of them "
                "beside a chunk that fills: take fewer, or a larger queue_bytes"
            )

    def with_fewer(self) -> LiveConfig:
        """The same, with no more ``estimate_frames`` than wait in the queue."""
        room = (self.chunks - 1) * self.frames_per_chunk
        return replace(self, estimate_frames=min(self.estimate_frames, room))

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that survives JSON."""
        return {**asdict(self), "frame_shape": list(self.frame_shape)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LiveConfig:
        """Inverse of :meth:`to_dict`; unknown keys are an error."""
        unknown = set(data) - {field.name for field in fields(cls)}
        if unknown:
            raise InvalidInputError(f"recording: unknown parameter {sorted(unknown)[0]!r}")
        return cls(**data)

    def _chunk_frames(self) -> int:
        from photon_gpu.engine.dispatch import get_backend

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


def _number(value: Any, name: str, low: float, high: float) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float, np.integer, np.floating))
        or not low <= value <= high
    ):
        raise InvalidInputError(f"{name} is {value!r}; a number from {low:g} to {high:g} is needed")
    return float(value) if isinstance(value, (float, np.floating)) else int(value)
