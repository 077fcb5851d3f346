"""What may enter: the shapes and dtypes of a movie, refused with a reason."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from photon_gpu.errors import InvalidInputError, UnsupportedTypeError

ALLOWED_DTYPES = (
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
)


class SingleImageError(InvalidInputError):
    """A file that holds one image, which is a movie only where the caller says so."""


_CURE = {
    "b": "save the mask as uint8 with .astype('uint8') if it is a movie at all",
    "c": "store magnitude, or real and imaginary part, as separate movies",
    "O": "convert it to a numeric array with .astype(...) first",
    "V": "pick one field of the structured array first",
    "S": "a path is given as str, one at a time",
    "U": "a path is given as str, one at a time",
    "f": "convert it with .astype('float32') or .astype('float64')",
}


def check_movie(shape: Sequence[Any] | None, dtype: Any, name: str) -> np.dtype:
    """Refuse what is not a movie ``(T, ..., H, W)`` of numbers.

    Parameters
    ----------
    shape : sequence of int
        Shape that arrived; None, as HDF5 has it for an empty dataset, is 0-D.
    dtype : dtype-like
        Type that arrived, in any byte order.
    name : str
        What to call the source in the message.

    Returns
    -------
    numpy.dtype
        The dtype in native byte order.

    Raises
    ------
    UnsupportedTypeError
        If the dtype is not one of ``ALLOWED_DTYPES``.
    InvalidInputError
        If there are fewer than three axes, or an axis of length zero or
        unknown.

    Examples
    --------
    >>> check_movie((100, 512, 512), ">u2", "array")
    dtype('uint16')
    >>> check_movie((512, 512), "uint16", "array")
    Traceback (most recent call last):
        ...
    photon_gpu.errors.InvalidInputError: array: one image of shape (512, 512) arrived; a movie has \
axes (T, ..., H, W), so add the time axis: image[np.newaxis]
    """
    native = _native(dtype, name)
    shape = () if shape is None else shape
    sizes = tuple(_size(length, shape, name) for length in shape)
    if 0 in sizes:
        raise InvalidInputError(
            f"{name}: the movie is empty, its shape is {sizes}; every axis of (T, ..., H, W) needs at least 1"
        )
    if len(sizes) == 2:
        raise InvalidInputError(
            f"{name}: one image of shape {sizes} arrived; a movie has axes (T, ..., H, W), "
            "so add the time axis: image[np.newaxis]"
        )
    if len(sizes) < 2:
        raise InvalidInputError(
            f"{name}: {len(sizes)}-D data of shape {sizes} arrived; a movie has at least three axes, "
            "(T, ..., H, W); one image gets its time axis by image[np.newaxis]"
        )
    return native


def is_movie(shape: Sequence[Any] | None, dtype: Any) -> bool:
    """Whether :func:`check_movie` would let it pass.

    Examples
    --------
    >>> is_movie((10, 4, 4), "int16"), is_movie((10,), "int16")
    (True, False)
    """
    try:
        check_movie(shape, dtype, "candidate")
    except (InvalidInputError, UnsupportedTypeError):
        return False
    return True


def choose_movie(found: Mapping[str, tuple[Any, Any]], *, name: str, option: str) -> str:
    """Which of several arrays in one file is the movie.

    Parameters
    ----------
    found : mapping of str to (shape, dtype)
        All arrays of the file. A single one is chosen whatever it is, so that
        :func:`check_movie` can say what is wrong with it.
    name, option : str
        What to call the file in the message, and the option that would choose.

    Raises
    ------
    InvalidInputError
        If several, or none, are movies; the message lists all.

    Examples
    --------
    >>> choose_movie({"movie": ((9, 4, 4), "u2"), "rate": ((), "f8")}, name="x.npz", option="key")
    'movie'
    """
    movies = [key for key, (shape, dtype) in found.items() if is_movie(shape, dtype)]
    if len(movies) == 1 or len(found) == 1:
        return movies[0] if movies else next(iter(found))
    problem = f"{len(movies)} arrays could be the movie; choose one by {option}="
    if not movies:
        problem = f"none of its arrays is a movie: axes (T, ..., H, W) and one of {', '.join(ALLOWED_DTYPES)}"
    raise InvalidInputError(f"{name}: {problem}. It holds: {list_arrays(found)}")


def list_arrays(found: Mapping[str, tuple[Any, Any]]) -> str:
    """Arrays with dtype and shape, for messages.

    Examples
    --------
    >>> list_arrays({"movie": ((9, 4, 4), "u2"), "rate": ((), "f8")})
    'movie u2 (9, 4, 4), rate f8 ()'
    """
    return ", ".join(f"{key} {dtype} {shape}" for key, (shape, dtype) in found.items()) or "nothing"


def _native(dtype: Any, name: str) -> np.dtype:
    try:
        arrived = np.dtype(dtype)
    except TypeError:
        raise UnsupportedTypeError(f"{name}: {_wrong(repr(dtype))}") from None
    # `.str` drops metadata that HDF5 attaches to enumerations.
    native = arrived.newbyteorder("=")
    if native.names is None and native.kind in "iuf" and native.name in ALLOWED_DTYPES:
        return np.dtype(native.str)
    cure = _CURE.get(native.kind, "convert it with .astype(...) first")
    raise UnsupportedTypeError(f"{name}: {_wrong(str(arrived))}; {cure}")


def _wrong(arrived: str) -> str:
    return f"dtype {arrived} arrived; a movie is one of {', '.join(ALLOWED_DTYPES)}"


def _size(length: Any, shape: Sequence[Any], name: str) -> int:
    try:
        return operator.index(length)
    except TypeError:
        raise InvalidInputError(
            f"{name}: the shape is {tuple(shape)}; every axis of (T, ..., H, W) needs a known whole length "
            "(a dask array learns its own by compute_chunk_sizes())"
        ) from None
