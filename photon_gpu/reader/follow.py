"""Read a movie while it is being recorded: it grows, and published frames never change."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic, sleep

from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError
from photon_gpu.reader.movie import Movie
from photon_gpu.store.in_progress_marker import MARKER
from photon_gpu.store.movie_folder import read_description


class FollowedMovie(Movie):
    """Movie with the length of the last :meth:`refresh`; iterating waits for more frames.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> options = {"dtype": "uint16", "chunk_frames": 10, "noise": pg.NoiseModel()}
    >>> live = pg.LiveWriter("memory://follow.zarr", frame_shape=(8, 8), **options)
    >>> _ = live.append(np.ones((10, 8, 8), "uint16"))
    >>> import time
    >>> while not live.acknowledged:
    ...     time.sleep(0.01)
    >>> movie = pg.open("memory://follow.zarr", follow=True)
    >>> len(movie), movie.growing
    (10, True)
    >>> _ = live.append(np.ones((25, 8, 8), "uint16"))
    >>> live.close()
    >>> movie.refresh(), movie.growing
    (35, False)
    """

    @property
    def growing(self) -> bool:
        """Whether the movie is still being recorded; this reads the store."""
        return self.storage.exists(MARKER)

    def refresh(self) -> int:
        """Read the current length from the store and return it."""
        description = read_description(self.storage)
        if (description.encoding, description.chunks) != (self.encoding, self.chunks) or description.shape[
            0
        ] < len(self):
            raise CorruptDataError(
                f"{self.url}: it was {self.shape} in chunks of {self.chunks}, and is {description.shape} in "
                f"{description.chunks}: another movie replaced it; open it again"
            )
        self.attrs = dict(description.attributes)
        if description.shape[0] > len(self):
            with self._lock:
                self._manifest = None
            self._take(description)
        return len(self)

    def wait(self, frames: int, *, timeout: float | None = None, interval: float = 0.2) -> bool:
        """Wait until there are ``frames`` frames; return False on timeout or if the recording ended earlier.

        Parameters
        ----------
        timeout : float, optional
            Seconds. Default: until the recording ends.
        interval : float
            Seconds between two requests.
        """
        until = None if timeout is None else monotonic() + timeout
        while len(self) < frames:
            growing = self.growing  # Ask first: the last frames are published before the end.
            if self.refresh() >= frames:
                break
            if not growing or (until is not None and monotonic() >= until):
                return False
            sleep(interval)
        return True

    def follow_counts(self) -> Iterator[NDArray]:
        """Iterate over frames in the original units as they arrive."""
        t = 0
        while self.wait(t + 1):
            yield self.counts[t]
            t += 1

    def __iter__(self) -> Iterator[NDArray]:
        t = 0
        while self.wait(t + 1):
            yield self[t]
            t += 1
