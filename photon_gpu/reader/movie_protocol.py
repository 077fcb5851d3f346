"""Protocol of a stored movie that its views (counts, dask, xarray) read from."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.noise import NoiseModel


class Readable(Protocol):
    """A stored movie that can be read; :class:`photon_gpu.reader.movie.Movie` is one.

    Views are below the movie, which offers them as methods: they know it by this protocol alone.
    """

    shape: tuple[int, ...]

    @property
    def url(self) -> str:
        """Where it is stored."""

    @property
    def layout(self) -> str:
        """Name of the layout."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk."""

    @property
    def ndim(self) -> int:
        """Number of dimensions."""

    @property
    def encoding(self) -> Encoding:
        """How its values are stored."""

    @property
    def noise(self) -> NoiseModel | None:
        """The noise model; None where it was stored without one."""

    @property
    def step(self) -> float | None:
        """Quantization step, sigma; None where nothing was quantized."""

    @property
    def timestamps(self) -> NDArray | None:
        """Time of each frame, where it was recorded."""

    @property
    def fingerprint(self) -> tuple[Any, ...]:
        """What differs between this movie and one that takes its place: the checksums of all files."""

    def __len__(self) -> int: ...

    def read(self, key: Any, what: Any) -> NDArray:
        """Read what ``key`` selects: stabilized, or as a dtype."""

    def with_workers(self, workers: int) -> Readable:
        """The same movie, read by so many threads; it travels to other processes by its address."""
