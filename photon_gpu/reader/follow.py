"""Read a movie while it is being recorded: it only grows, and what is there never changes."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic, sleep

from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError
from photon_gpu.reader.movie import Movie
from photon_gpu.store.marker import MARKER
from photon_gpu.store.movie_folder import read_description


class FollowedMovie(Movie):
    """A movie whose length is that of the last :meth:`refresh`. Iterating waits for frames to come.

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
        """Whether it is being recorded; asked of the store."""
        return self.storage.exists(MARKER)

    def refresh(self) -> int:
        """Look again; returns the count of frames there are."""
        description = read_description(self.storage)
        if (description.encoding, description.chunks) != (self.encoding, self.chunks) or description.shape[
            0
        ] < len(self):
            raise CorruptDataError(
                f"{self.url}: was {self.shape} in chunks of {self.chunks}, is {description.shape} in "
                f"{description.chunks}: "
                "another movie took its place; open it anew"
            )
        self.attrs = dict(description.attributes)
        if description.shape[0] > len(self):
            with self._lock:
                self._manifest = None
            self._take(description)
        return len(self)

    def wait(self, frames: int, *, timeout: float | None = None, interval: float = 0.2) -> bool:
        """Wait until there are ``frames`` frames; False where time ran out or the recording ended before.

        Parameters
        ----------
        timeout : float, optional
            Seconds. Default: as long as it is recorded.
        interval : float
            Seconds between two looks.
        """
        until = None if timeout is None else monotonic() + timeout
        while len(self) < frames:
            growing = self.growing  # asked first: the last frames come before the end is seen
            if self.refresh() >= frames:
                break
            if not growing or (until is not None and monotonic() >= until):
                return False
            sleep(interval)
        return True

    def follow_counts(self) -> Iterator[NDArray]:
        """Frames in the original units, as they come; iterating the movie itself gives stabilized ones."""
        t = 0
        while self.wait(t + 1):
            yield self.counts[t]
            t += 1

    def __iter__(self) -> Iterator[NDArray]:
        t = 0
        while self.wait(t + 1):
            yield self[t]
            t += 1
