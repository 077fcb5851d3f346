"""Decode payloads by libphoton, the decoder in C, where Numba cannot be loaded or the user asks for it.

The environment variable ``PHOTON_LIBPHOTON`` is the path of the library. Without it, the system's libraries
are searched, but only where Numba cannot be loaded.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import os
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.header_against_metadata import check_agreement
from photon_gpu.engine.model.clipping_levels import ClippingLevels
from photon_gpu.engine.runtime.scratch import scratch
from photon_gpu.errors import BackendUnavailableError, CorruptDataError, UnsupportedVersionError
from photon_gpu.logger import logger

VARIABLE = "PHOTON_LIBPHOTON"
_INTERFACE, _FORMAT = 1, 0x0207
_COUNTS, _VERSION = 0, 3
_NO_LEVEL = -(1 << 63)
_DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


class _Info(ctypes.Structure):
    """``photon_info`` of photon.h."""

    _fields_ = (
        ("shape", ctypes.c_uint64 * 32),
        ("axes", ctypes.c_uint32),
        ("frames", ctypes.c_uint32),
        ("samples", ctypes.c_uint64),
        ("dtype", ctypes.c_uint32),
        ("itemsize", ctypes.c_uint32),
        ("gain", ctypes.c_double),
        ("offset", ctypes.c_double),
        ("variance", ctypes.c_double),
        ("step", ctypes.c_double),
        ("number", ctypes.c_uint32),
        ("movie", ctypes.c_uint32),
        *((name, ctypes.c_uint32) for name in ("minor", "predictor", "width", "exact", "phases", "body")),
        *((name, ctypes.c_uint32) for name in ("levels", "band_rows", "seed", "rate", "top", "weights_crc")),
        ("base", ctypes.c_int64),
        ("low", ctypes.c_int64),
        ("high", ctypes.c_int64),
        ("peaks", ctypes.c_int64),
        ("checksum", ctypes.c_uint64),
        ("weights", ctypes.c_int32 * 22),
        ("header_bytes", ctypes.c_size_t),
    )


@dataclass(frozen=True, kw_only=True)
class LibphotonHeader:
    """Facts that the header of a chunk and the metadata of its store both state."""

    shape: tuple[int, ...]
    dtype: str
    gain: float
    offset: float
    variance: float
    step: float
    exact: bool
    raw: bool
    clipping: ClippingLevels
    peaks: int
    phases: int
    seed: int


class Libphoton:
    """The functions of a loaded library that decode payloads.

    Raises
    ------
    BackendUnavailableError
        The file is no libphoton, or one of another version.
    """

    def __init__(self, path: str) -> None:
        try:
            self._library = ctypes.CDLL(path)
            self._library.photon_version.restype = ctypes.c_uint32
            version = self._library.photon_version()
        except (OSError, AttributeError) as error:
            raise BackendUnavailableError(f"{path}: libphoton cannot be loaded: {error}") from error
        if version != _INTERFACE << 16 | _FORMAT:
            raise BackendUnavailableError(
                f"{path}: this libphoton has interface {version >> 16} and reads format "
                f"{version >> 8 & 255}.{version & 255}; needed are interface {_INTERFACE} and format "
                f"{_FORMAT >> 8}.{_FORMAT & 255}: build libphoton of this version of photon_gpu"
            )
        self._library.photon_message.restype = ctypes.c_char_p

    def shape_of(self, payload: NDArray[np.uint8]) -> tuple[int, ...]:
        """Shape of the chunk of a payload of one channel."""
        return _header(self._info(payload)).shape

    def decode(self, payload: NDArray[np.uint8], shape: tuple[int, ...], encoding: Encoding) -> NDArray:
        """Decode all samples of a payload of one channel."""
        info = self._info(payload)
        check_agreement(_header(info), shape, encoding)
        memory = ctypes.c_size_t()
        self._call("memory", ctypes.byref(info), _COUNTS, ctypes.byref(memory))
        work = scratch("libphoton", (memory.value,), np.uint8)
        out = np.empty(shape, encoding.dtype)
        sizes = ctypes.c_size_t(out.nbytes), ctypes.c_size_t(work.nbytes)
        self._call("decode", *_bytes(payload), _COUNTS, _at(out), sizes[0], _at(work), sizes[1])
        return out

    def _info(self, payload: NDArray[np.uint8]) -> _Info:
        info = _Info()
        self._call("read_info", *_bytes(payload), ctypes.byref(info))
        return info

    def _call(self, name: str, *arguments: object) -> None:
        """Call a function of the library; its statuses are errors of photon_gpu."""
        status = getattr(self._library, f"photon_{name}")(*arguments)
        if status:
            message = self._library.photon_message(status).decode()
            error = UnsupportedVersionError if status == _VERSION else CorruptDataError
            raise error(f"a chunk cannot be decoded: {message} (libphoton)")


def _at(array: NDArray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _bytes(payload: NDArray[np.uint8]) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
    return _at(payload), ctypes.c_size_t(payload.size)


def _header(info: _Info) -> LibphotonHeader:
    low, high = (None if level == _NO_LEVEL else level for level in (info.low, info.high))
    return LibphotonHeader(
        shape=tuple(info.shape[: info.axes]),
        dtype=_DTYPES[info.dtype],
        gain=info.gain,
        offset=info.offset,
        variance=info.variance,
        step=info.step,
        exact=info.exact == 1,
        raw=info.exact == 2,
        clipping=ClippingLevels(low=low, high=high),
        peaks=info.peaks,
        phases=info.phases,
        seed=info.seed,
    )


def libphoton() -> Libphoton | None:
    """Return the library that decodes in place of the engine; None if the engine does.

    Raises
    ------
    BackendUnavailableError
        ``PHOTON_LIBPHOTON`` names something else than a libphoton of this version, or Numba cannot be loaded
        and no libphoton is found.
    """
    path = os.environ.get(VARIABLE)
    return _loaded(path) if path else _without_numba()


@cache
def _loaded(path: str) -> Libphoton:
    return Libphoton(path)


@cache
def _without_numba() -> Libphoton | None:
    try:
        if importlib.util.find_spec("numba") is not None:
            import numba  # noqa: F401

            return None
        problem = "it is not installed"
    except ImportError as error:
        problem = str(error)
    path = ctypes.util.find_library("photon")
    if path is None:
        raise BackendUnavailableError(
            f"Numba cannot be loaded ({problem}), and there is no libphoton, which decodes without it: "
            f"pip install numba, or set {VARIABLE} to the path of libphoton.so"
        )
    library = Libphoton(path)
    logger.info("Numba cannot be loaded (%s): %s decodes", problem, path)
    return library
