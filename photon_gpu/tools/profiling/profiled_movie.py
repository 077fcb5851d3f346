"""Movie that a profile encodes: the user's, or a simulated one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.encode_settings import EncodeSettings
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.recording import Recording
from photon_gpu.sources.array import ArraySource
from photon_gpu.sources.base import Source
from photon_gpu.sources.open import open_source
from photon_gpu.tools.profiling.preset_for_camera import Camera
from photon_gpu.writer import auto_noise

_CHUNK_BYTES = 64 << 20
_TUNED = (16, 128, 256)


NoiseModels = NoiseModel | tuple[NoiseModel, ...]


class Repeated(Source):
    """Repeats frames in memory; chunks are encoded separately, so repetition does not make them smaller."""

    def __init__(self, frames: NDArray, count: int, name: str) -> None:
        self._frames, self.name = frames, name
        self.shape, self.dtype = (count, *frames.shape[1:]), frames.dtype

    def read(self, start: int, stop: int) -> NDArray:
        """Read frames ``start:stop``: a view if the range does not cross the end of the repeated frames."""
        first = start % len(self._frames)
        if first + stop - start <= len(self._frames):
            return self._frames[first : first + stop - start]
        return self._frames[np.arange(start, stop) % len(self._frames)]


class Part(Source):
    """The first frames of a source; each read goes to the source."""

    def __init__(self, source: Source, count: int) -> None:
        self._source, self.name, self.dtype = source, source.name, source.dtype
        self.shape = (min(count, source.shape[0]), *source.shape[1:])
        self.recording = Recording(axes=source.recording.axes)

    def read(self, start: int, stop: int) -> NDArray:
        """Read frames ``start:stop`` from the source."""
        return self._source.read(start, stop)


def movie_for(
    source: Any, noise: NoiseModels | None, camera: Camera | None
) -> tuple[Source, NoiseModels | None, tuple[str, ...]]:
    """Return the user's movie or a simulated one, its noise model, and notes about it."""
    if source is not None:
        movie = open_source(source)
        notes = []
        if camera is not None and (camera.height, camera.width) != movie.shape[-2:]:
            notes.append(
                f"the camera's frames are {camera.height} x {camera.width}, the movie's "
                f"{movie.shape[-2]} x {movie.shape[-1]}: speed is compared per byte"
            )
        if noise is None:
            settings = EncodeSettings(accept_processed=True)  # only speed is measured
            settled = auto_noise.settle(movie, settings.encoding(movie.dtype.name), settings)
            models = settled.encoding.models
            noise, notes = models if len(models) > 1 else models[0], [*notes, *settled.warnings]
        return movie, noise, tuple(notes)
    from photon_gpu.sources.simulated.movie import simulate

    height, width, dtype = (camera.height, camera.width, camera.dtype) if camera else (512, 512, "uint16")
    frame = height * width * np.dtype(dtype).itemsize
    frames = int(min(100, max(_CHUNK_BYTES // frame, 2)))
    gain = {1: 2.0}.get(np.dtype(dtype).itemsize, 100.0)
    made = simulate(
        frames=frames,
        height=height,
        width=width,
        dtype=dtype,
        gain=gain,
        offset=4 * gain,
        read_noise_adu=gain / 3,
    )
    values = made.read(0, frames)
    return (
        Repeated(values, 1 << 20, "simulated two-photon movie"),
        made.noise,
        (f"the movie was simulated before ({frames} frames, in memory): reading costs nothing here",),
    )


def corner(movie: Source) -> Source:
    """Return frames from the middle of the movie, for tuning."""
    frames, rows, columns = _TUNED
    values = movie.read(0, min(frames, movie.shape[0]))
    top, left = (max(0, (n - part) // 2) for n, part in zip(movie.shape[-2:], (rows, columns), strict=True))
    part = ArraySource(np.ascontiguousarray(values[..., top : top + rows, left : left + columns]))
    part.recording = Recording(axes=movie.recording.axes)
    return part
