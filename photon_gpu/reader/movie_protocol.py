"""Protocol that the views of a stored movie (counts, dask, xarray) read it through."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.recording import Recording


class Readable(Protocol):
    """A stored movie that can be read; :class:`photon_gpu.reader.movie.Movie` is one.

    The class Movie imports its views, so the views import this protocol instead of the class.
    """

    shape: tuple[int, ...]

    @property
    def url(self) -> str:
        """URL of the movie."""

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
        """Encoding of the values."""

    @property
    def noise(self) -> NoiseModel | None:
        """Noise model; None if the movie was stored without one."""

    @property
    def step(self) -> float | None:
        """Quantization step, sigma; None if nothing was quantized."""

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the array."""

    @property
    def recording(self) -> Recording:
        """Metadata of the recording."""

    @property
    def timestamps(self) -> NDArray | None:
        """Time of each frame, if it was recorded."""

    @property
    def fingerprint(self) -> tuple[Any, ...]:
        """Checksums of all files, which differ if another movie replaces this one."""

    def __len__(self) -> int: ...

    def read(self, key: Any, what: Any) -> NDArray:
        """Read the values of an index, stabilized or as a dtype."""

    def with_workers(self, workers: int) -> Readable:
        """Return the same movie, read by this many threads; pickling it stores its URL only."""
