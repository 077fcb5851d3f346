"""Check whether a shape and a dtype are those of a movie."""

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


_MOST_NAMES, _MOST_CHARACTERS, _LONGEST_NAME = 10, 120, 50


class SingleImageError(InvalidInputError):
    """A file has a single image, which is a movie only if the caller says so."""


_CURE = {
    "b": "save the mask as uint8 with .astype('uint8') if it is a movie at all",
    "c": "store magnitude, or real and imaginary part, as separate movies",
    "O": "convert it to a numeric array with .astype(...) first",
    "V": "pick one field of the structured array first",
    "S": "give paths as a list of str",
    "U": "give paths as a list of str",
    "f": "convert it with .astype('float32') or .astype('float64')",
}


def check_movie(shape: Sequence[Any] | None, dtype: Any, name: str) -> np.dtype:
    """Refuse a shape or a dtype that is not that of a movie ``(T, ..., H, W)``.

    Parameters
    ----------
    shape : sequence of int
        Shape to check. None, which HDF5 uses for an empty dataset, counts as 0-D.
    dtype : dtype-like
        Dtype to check, in any byte order.
    name : str
        Name of the source in messages.

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
    """Whether :func:`check_movie` accepts a shape and a dtype.

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


def choose_movie(arrays: Mapping[str, tuple[Any, Any]], *, name: str, option: str) -> str:
    """Choose the movie among the arrays of a file.

    Parameters
    ----------
    arrays : mapping of str to (shape, dtype)
        All arrays of the file. A single one is always chosen, so that :func:`check_movie` can say what is
        wrong with it.
    name, option : str
        Name of the file in messages, and of the option that chooses an array.

    Raises
    ------
    InvalidInputError
        If several arrays, or none, are movies; the message lists all.

    Examples
    --------
    >>> choose_movie({"movie": ((9, 4, 4), "u2"), "rate": ((), "f8")}, name="x.npz", option="key")
    'movie'
    """
    movies = [key for key, (shape, dtype) in arrays.items() if is_movie(shape, dtype)]
    if len(movies) == 1 or len(arrays) == 1:
        return movies[0] if movies else next(iter(arrays))
    problem = f"{len(movies)} arrays could be the movie; choose one by {option}=NAME"
    if not movies:
        problem = "none of its arrays is a movie (T, ..., H, W) of integers or float32, float64"
    first = {key: arrays[key] for key in movies}
    raise InvalidInputError(f"{name}: {problem}. It holds: {list_arrays(first | dict(arrays))}")


def list_arrays(arrays: Mapping[str, tuple[Any, Any]]) -> str:
    """List arrays with dtype and shape for a message: at most ten, fewer if their names are long.

    Examples
    --------
    >>> list_arrays({"movie": ((9, 4, 4), "u2"), "rate": ((), "f8")})
    'movie u2 (9, 4, 4), rate f8 ()'
    """
    shown: list[str] = []
    for key, (shape, dtype) in arrays.items():
        name = key if len(key) <= _LONGEST_NAME else f"...{key[-_LONGEST_NAME:]}"
        text = f"{name} {dtype} {shape}"
        if len(shown) == _MOST_NAMES or len(", ".join([*shown, text])) > _MOST_CHARACTERS:
            shown.append(f"and {len(arrays) - len(shown)} more")
            break
        shown.append(text)
    return ", ".join(shown) or "nothing"


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
            "(for a dask array, call compute_chunk_sizes())"
        ) from None
