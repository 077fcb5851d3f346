"""Lazy view of a movie in its original dtype and units."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from photon_gpu.encode_settings import bounded_number, flag, shown
from photon_gpu.engine.model.code_table import supported_dtype
from photon_gpu.errors import InvalidInputError, UnsupportedTypeError
from photon_gpu.reader import reductions
from photon_gpu.reader.dask_arrays import counts_to_dask
from photon_gpu.reader.movie_protocol import Readable
from photon_gpu.reader.reductions import Axis
from photon_gpu.recording import Recording, lost_frames
from photon_gpu.sources.missing_frames import within


def _by_dask(operation: Callable[[Any, Any], Any], *, swapped: bool = False) -> Callable[[Counts, Any], Any]:
    """Make an operator that returns a lazy dask array."""

    def method(self: Counts, other: Any) -> Any:
        own = self.to_dask()
        other = other.to_dask() if isinstance(other, Counts) else other
        return operation(other, own) if swapped else operation(own, other)

    return method


class Counts:
    """Movie in its original units; ``astype`` to a float dtype omits the rounding to integers.

    The array is lazy. Indexing, ``np.asarray`` and reductions return NumPy arrays or scalars. Reductions read
    one chunk after another, so they need little memory for a movie of any length. Arithmetic and comparisons
    return a lazy dask array.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> options = {"noise": pg.NoiseModel(), "chunk_frames": 10, "overwrite": True}
    >>> _ = pg.encode(np.full((30, 8, 8), 4, "uint16"), "memory://counts.zarr", **options)
    >>> counts = pg.open("memory://counts.zarr").counts
    >>> counts.size, counts.nbytes, counts.mean(), counts.max(axis=0).shape
    (1920, 3840, np.float64(4.0), (8, 8))
    >>> (counts - counts.mean(axis=0)).shape
    (30, 8, 8)
    """

    # NumPy then delegates `array - counts` to this class, so that it stays lazy.
    __array_priority__ = 20

    def __init__(self, movie: Readable, dtype: np.dtype) -> None:
        self._movie = movie
        self.dtype = dtype
        self.shape = movie.shape
        self.chunks = movie.chunks
        self.ndim = movie.ndim

    @property
    def recording(self) -> Recording:
        """Metadata of the recording; a copy of the movie keeps them."""
        return self._movie.recording

    @property
    def lost(self) -> tuple[tuple[int, int], ...]:
        """Ranges ``(first, end)`` of frames that were lost before they were stored; a copy names them too."""
        return within(lost_frames(self._movie.attrs), 0, self.shape[0])

    @property
    def size(self) -> int:
        """Number of samples."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of a sample."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all samples as this dtype."""
        return self.size * self.itemsize

    def astype(self, dtype: DTypeLike) -> Counts:
        """Return a view of the same values in another dtype: the original, float32 or float64."""
        wanted = supported_dtype(dtype)
        if wanted.kind != "f" and wanted != self._movie.encoding.dtype:
            raise InvalidInputError(
                f"counts are {self._movie.encoding.dtype}; astype allows only that, float32 or float64, not "
                f"{wanted.name}"
            )
        return Counts(self._movie, wanted)

    def to_dask(self) -> Any:
        """Return a lazy dask array of this dtype, one block per chunk."""
        return counts_to_dask(self._movie, self.dtype)

    def min(self, axis: Axis = None, out: None = None, *, keepdims: bool = False) -> Any:
        """Least value, over all samples or along axes, as ``np.min``."""
        return self._least_or_greatest(np.minimum, axis, out, keepdims)

    def max(self, axis: Axis = None, out: None = None, *, keepdims: bool = False) -> Any:
        """Greatest value, over all samples or along axes, as ``np.max``."""
        return self._least_or_greatest(np.maximum, axis, out, keepdims)

    def sum(
        self, axis: Axis = None, dtype: DTypeLike | None = None, out: None = None, *, keepdims: bool = False
    ) -> Any:
        """Sum over all samples or along axes, as ``np.sum``."""
        _check(out, keepdims)
        axes = reductions.axes_of(axis, self.ndim)
        return _result(reductions.total(self._movie, self.dtype, axes, _dtype(dtype, None)), axes, keepdims)

    def mean(
        self, axis: Axis = None, dtype: DTypeLike | None = None, out: None = None, *, keepdims: bool = False
    ) -> Any:
        """Mean over all samples or along axes, computed in float64, as ``np.mean`` of integers."""
        _check(out, keepdims)
        axes = reductions.axes_of(axis, self.ndim)
        mean, _, _ = reductions.mean_and_squares(self._movie, self.dtype, axes)
        return _result(mean.astype(_dtype(dtype, np.float64)), axes, keepdims)

    def var(
        self,
        axis: Axis = None,
        dtype: DTypeLike | None = None,
        out: None = None,
        ddof: float = 0,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Variance over all samples or along axes, computed in float64, as ``np.var`` of integers."""
        _check(out, keepdims)
        axes = reductions.axes_of(axis, self.ndim)
        ddof = bounded_number("ddof", ddof, -1e15, 1e15)
        _, squares, count = reductions.mean_and_squares(self._movie, self.dtype, axes)
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = squares / max(count - ddof, 0)
        return _result(variance.astype(_dtype(dtype, np.float64)), axes, keepdims)

    def std(
        self,
        axis: Axis = None,
        dtype: DTypeLike | None = None,
        out: None = None,
        ddof: float = 0,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Standard deviation over all samples or along axes, as ``np.std`` of integers."""
        return np.sqrt(self.var(axis, dtype, out, ddof, keepdims=keepdims))

    def _least_or_greatest(self, ufunc: np.ufunc, axis: Axis, out: None, keepdims: bool) -> Any:
        _check(out, keepdims)
        axes = reductions.axes_of(axis, self.ndim)
        return _result(reductions.least_or_greatest(self._movie, self.dtype, ufunc, axes), axes, keepdims)

    __add__, __radd__ = _by_dask(operator.add), _by_dask(operator.add, swapped=True)
    __sub__, __rsub__ = _by_dask(operator.sub), _by_dask(operator.sub, swapped=True)
    __mul__, __rmul__ = _by_dask(operator.mul), _by_dask(operator.mul, swapped=True)
    __truediv__, __rtruediv__ = _by_dask(operator.truediv), _by_dask(operator.truediv, swapped=True)
    __floordiv__, __rfloordiv__ = _by_dask(operator.floordiv), _by_dask(operator.floordiv, swapped=True)
    __mod__, __rmod__ = _by_dask(operator.mod), _by_dask(operator.mod, swapped=True)
    __pow__, __rpow__ = _by_dask(operator.pow), _by_dask(operator.pow, swapped=True)
    __lt__, __le__ = _by_dask(operator.lt), _by_dask(operator.le)
    __gt__, __ge__ = _by_dask(operator.gt), _by_dask(operator.ge)
    __eq__ = _by_dask(operator.eq)
    __ne__ = _by_dask(operator.ne)
    __hash__ = object.__hash__

    def __neg__(self) -> Any:
        return -self.to_dask()

    def __abs__(self) -> Any:
        return abs(self.to_dask())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        return self._movie.read(key, self.dtype)

    def __iter__(self) -> Iterator[NDArray]:
        for t in range(len(self)):
            yield self[t]

    def __contains__(self, value: Any) -> bool:
        firsts = range(0, len(self), self.chunks[0])
        return any(bool((self[first : first + self.chunks[0]] == value).any()) for first in firsts)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        refuse_no_copy(copy)
        return np.asarray(self[...], dtype)

    def __repr__(self) -> str:
        return f"<Counts {' x '.join(map(str, self.shape))} {self.dtype} of {self._movie.url}>"


def refuse_no_copy(copy: bool | None) -> None:
    """Raise ValueError, as NumPy asks for, if an array is wanted that shares memory with the movie."""
    if copy is False:
        raise ValueError("a stored movie has no array in memory: reading it makes one (copy=None or True)")


def _dtype(dtype: DTypeLike | None, default: DTypeLike | None) -> DTypeLike | None:
    """Return the dtype of a result, or the default; raise UnsupportedTypeError unless it is of numbers."""
    if dtype is None:
        return default
    with suppress(TypeError, ValueError):
        if np.dtype(dtype).kind in "biufc":
            return np.dtype(dtype)
    raise UnsupportedTypeError(f"dtype is {shown(dtype)}; a dtype of numbers is needed, such as 'float32'")


def _check(out: None, keepdims: bool) -> None:
    flag("keepdims", keepdims)
    if out is not None:
        raise InvalidInputError(f"out is {type(out).__name__}; reductions of a stored movie make a new array")


def _result(reduced: NDArray[Any], axes: tuple[int, ...], keepdims: bool) -> Any:
    """Drop the reduced axes unless they are kept; return a scalar if no axis is left, as NumPy does."""
    return reduced if keepdims else reduced.squeeze(axes)[()]
