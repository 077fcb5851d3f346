"""A stream with the ``append`` and ``skip`` of ome-writers and acquire-zarr, for acquisition software."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np

from photon_gpu.errors import InvalidInputError
from photon_gpu.live.writer import LiveWriter


class FrameStream:
    """A :class:`~photon_gpu.live.LiveWriter` behind the stream interface of ``ome_writers.OMEStream``.

    Software that uses ``ome_writers.create_stream(...)`` or ``acquire_zarr.ZarrStream(...)`` frame
    by frame can use this class without changes.

    Parameters
    ----------
    url : str, path or Storage
    frame_shape : tuple of int
    dtype : dtype
    **options
        Options of :class:`~photon_gpu.live.LiveWriter`.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> with FrameStream("memory://stream.zarr", (4, 5), "uint16") as stream:
    ...     stream.append(np.ones((4, 5), "uint16"), frame_metadata={"delta_t": 0.1, "position_z": 3.0})
    ...     stream.skip(frames=2)
    >>> movie = pg.open("memory://stream.zarr")
    >>> movie.shape, movie.frame_metadata(0), movie.frame_metadata(2)
    ((3, 4, 5), {'delta_t': 0.1, 'position_z': 3.0}, {'skipped': True})
    """

    def __init__(self, url: Any, frame_shape: tuple[int, ...], dtype: Any, **options: Any) -> None:
        self.writer = LiveWriter(url, frame_shape=frame_shape, dtype=dtype, **options)
        self._active = True

    def append(self, frame: Any, *, frame_metadata: dict[str, Any] | None = None) -> None:
        """Append a frame; ``delta_t`` in its metadata becomes its timestamp."""
        time = (frame_metadata or {}).get("delta_t")
        self.writer.append(frame, timestamp=time, metadata=frame_metadata)

    def skip(self, *, frames: int = 1) -> None:
        """Append zeros for frames that the camera skipped; their metadata say so."""
        if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
            raise InvalidInputError(f"frames is {frames!r}; a positive whole number is needed")
        nothing = np.zeros((1, *self.writer.config.frame_shape), self.writer.config.dtype)
        for _ in range(frames):
            self.writer.append(nothing, metadata=[{"skipped": True}])

    def is_active(self) -> bool:
        """Whether the stream accepts frames."""
        return self._active

    def get_current_memory_usage(self) -> int:
        """Bytes of the frames in the queue."""
        return self.writer.status().queue_bytes

    def close(self) -> None:
        """Store the remaining frames; raise the recording's error, if any."""
        self._active = False
        self.writer.close()

    def __enter__(self) -> FrameStream:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._active = False
        self.writer.__exit__(error_type, error, trace)
