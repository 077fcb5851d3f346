"""Sources of movies in NumPy's files: ``.npy``, memory-mapped or remote, and ``.npz``."""

from __future__ import annotations

import io
import math
import struct
import threading
import tokenize
import zipfile
import zlib
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc import MAX_BYTES
from photon_gpu.engine.runtime.regular_file import open_regular
from photon_gpu.errors import (
    CorruptDataError,
    InvalidInputError,
    PhotonError,
    StoreNotFoundError,
    StoreUnavailableError,
    UnsupportedTypeError,
)
from photon_gpu.recording import Document, Recording
from photon_gpu.sources.array import ArraySource
from photon_gpu.sources.base import Source
from photon_gpu.sources.check import check_movie, choose_movie, list_arrays
from photon_gpu.sources.truncated_file import ERROR, check_truncated, keep_whole_frames

# A damaged archive raises any of these.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    OverflowError,
)
_PIECE = 1 << 18
_SMALL = 1 << 20  # bytes of the largest array that is kept as metadata of the movie
_LONGEST_HEADER = 10_000  # bytes, as NumPy's own limit
_MOST_EXPANDED = 1032  # bytes that one byte of Deflate can stand for, at most


class NpySource(ArraySource):
    """A movie in a local ``.npy`` file.

    Parameters
    ----------
    path : path-like
        File in C or Fortran order, with any byte order.
    truncated : {"error", "keep"}
        Whether a file in C order that ends too early is an error, or its whole frames become the movie.

    Raises
    ------
    CorruptDataError
        If the file is not ``.npy``, or shorter than its header says.
    InvalidInputError, UnsupportedTypeError
        See :func:`photon_gpu.sources.check.check_movie`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "movie.npy"
    >>> np.save(path, np.arange(24, dtype="int16").reshape(2, 3, 4))
    >>> NpySource(path).read(1, 2).tolist()
    [[[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]]
    """

    def __init__(self, path: Any, *, truncated: str = ERROR) -> None:
        name = str(path)
        check_truncated(truncated)
        with open_regular(path) as file:
            shape, fortran, dtype, offset = _header(file, name)
            size = file.seek(0, 2)
        native = check_movie(shape, dtype, name)
        frame_nbytes = math.prod(shape[1:]) * native.itemsize
        if fortran:
            _check_size(shape, native, offset, size, name)
        elif (whole := max(size - offset, 0) // frame_nbytes) < shape[0]:
            needed = offset + shape[0] * frame_nbytes
            problem = f"its header promises {dtype} {shape}, {needed} bytes; it has {size}"
            self.truncation = keep_whole_frames(name, problem, whole, shape[0], truncated)
            shape = (whole, *shape[1:])
        order: Any = "F" if fortran else "C"
        array = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order=order)
        super().__init__(array, name=name, path=path)


class RemoteNpySource(Source):
    """A movie in a ``.npy`` file at an fsspec URL, read by byte ranges.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
        File system of the file.
    path : str
        Path in the file system.
    name : str
        Name in messages: the URL.

    Raises
    ------
    StoreNotFoundError, CorruptDataError, InvalidInputError, UnsupportedTypeError
        See :class:`NpySource`. Fortran order is refused, since a frame would need the whole file.

    Examples
    --------
    >>> import fsspec, io
    >>> fs, buffer = fsspec.filesystem("memory"), io.BytesIO()
    >>> np.save(buffer, np.zeros((5, 2, 2), "uint16"))
    >>> fs.pipe_file("/doctest.npy", buffer.getvalue())
    >>> RemoteNpySource(fs, "/doctest.npy", name="memory://doctest.npy").shape
    (5, 2, 2)
    """

    def __init__(self, fs: Any, path: str, *, name: str) -> None:
        self.name = name
        try:
            with fs.open(path, "rb", block_size=1 << 16) as file:
                shape, fortran, dtype, self._offset = _header(file, name)
                size = file.seek(0, 2)
        except FileNotFoundError as error:
            raise StoreNotFoundError(f"{name}: there is no such file") from error
        except PhotonError:
            raise
        except Exception as error:  # each file system raises its own exceptions
            raise StoreUnavailableError(
                f"{name}: the file cannot be read: {type(error).__name__}: {error}"
            ) from error
        self.dtype = check_movie(shape, dtype, name)
        self.shape = shape
        self._stored = dtype
        self._file: tuple[Any, str] | None = (fs, path)
        _refuse_fortran(fortran, name)
        _check_size(shape, dtype, self._offset, size, name)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop`` by one request for their byte range."""
        self._check_frames(start, stop)
        if self._file is None:
            raise InvalidInputError(f"{self.name}: the source is closed; open it again")
        fs, path = self._file
        first, last = (self._offset + frame * self.frame_nbytes for frame in (start, stop))
        try:
            data = fs.cat_file(path, start=first, end=last)
        except FileNotFoundError as error:
            raise StoreNotFoundError(f"{self.name}: the file vanished while it was being read") from error
        except Exception as error:  # each file system raises its own exceptions
            raise CorruptDataError(
                f"{self.name}: bytes {first} to {last} cannot be read: {type(error).__name__}: {error}"
            ) from error
        if len(data) != last - first:
            raise CorruptDataError(
                f"{self.name}: the file is truncated: of bytes {first} to {last} only {len(data)} arrived"
            )
        frames = np.frombuffer(data, self._stored).reshape((stop - start, *self.shape[1:]))
        return frames.astype(self.dtype, copy=False)

    def close(self) -> None:
        """Release the file system."""
        self._file = None


class NpzSource(Source):
    """A movie in an array of an ``.npz`` archive, decompressed while it is read.

    Reading forward is one pass over the archive; reading backward starts again. The checksum of the archive
    is verified when the last frame is read in this way.

    Parameters
    ----------
    path : path-like
        Local archive.
    key : str, optional
        Name of the array; needed if several are movies.

    Raises
    ------
    InvalidInputError
        If there is no such array, if several arrays are movies and ``key`` is None, or if the array is in
        Fortran order.
    CorruptDataError
        If the archive is damaged.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "movie.npz"
    >>> np.savez_compressed(path, movie=np.zeros((5, 2, 2), "uint8"), rate=30.0)
    >>> with NpzSource(path) as movie:
    ...     movie.shape
    (5, 2, 2)
    """

    def __init__(self, path: Any, *, key: str | None = None) -> None:
        self.name = str(path)
        self._lock = threading.Lock()
        self._stream: IO[bytes] | None = None
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, EOFError) as error:
            raise CorruptDataError(
                f"{self.name}: the .npz archive is truncated or damaged: {error}"
            ) from error
        try:
            self.name = f"{self.name}::{self._open(key)}"
        except BaseException:
            self.close()
            raise

    def _open(self, key: str | None) -> str:
        members = [info.filename for info in self._zip.infolist() if info.filename.endswith(".npy")]
        headers = {member.removesuffix(".npy"): self._member_header(member) for member in members}
        arrays = {one: (shape, dtype) for one, (shape, _, dtype, _) in headers.items()}
        if key is None:
            key = choose_movie(arrays, name=self.name, option="key")
        if key not in headers:
            raise InvalidInputError(
                f"{self.name}: there is no array {key!r}. It holds: {list_arrays(arrays)}"
            )
        shape, fortran, self._stored, self._offset = headers[key]
        self.dtype = check_movie(shape, self._stored, f"{self.name}::{key}")
        self.shape = shape
        _refuse_fortran(fortran, self.name)
        size = self._zip.getinfo(f"{key}.npy").file_size
        _check_size(shape, self.dtype, self._offset, size, self.name)
        packed = self._zip.getinfo(f"{key}.npy").compress_size
        if size > _MOST_EXPANDED * packed + _PIECE:
            raise CorruptDataError(
                f"{self.name}: the archive claims {size:,} bytes for {key}; its {packed:,} expand to at "
                f"most {_MOST_EXPANDED} times as many"
            )
        if self.frame_nbytes > MAX_BYTES:
            raise InvalidInputError(
                f"{self.name}::{key}: one frame of shape {shape[1:]} takes {self.frame_nbytes:,} bytes; "
                f"from an archive at most {MAX_BYTES:,} are unpacked at once, as many as a chunk holds"
            )
        self._stream = self._zip.open(f"{key}.npy")
        self.recording = self._other_arrays({one: array for one, array in arrays.items() if one != key})
        return key

    def _other_arrays(self, arrays: dict[str, tuple[Any, Any]]) -> Recording:
        """Metadata from the other arrays of the archive: small ones verbatim, of the others their names."""
        documents, left_out = [], []
        for name, (shape, dtype) in arrays.items():
            try:
                if dtype.hasobject or self._zip.getinfo(f"{name}.npy").file_size > _SMALL:
                    raise InvalidInputError("too large, or a pickle")
                data = self._zip.read(f"{name}.npy")
                documents.append(Document(name=f"npz/{name}.npy", media_type="application/x-npy", data=data))
            except (InvalidInputError, *_DAMAGE):
                left_out.append(f"array {name!r}, {dtype} {shape}")
        return Recording(documents=tuple(documents), not_kept=tuple(left_out))

    def _member_header(self, member: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
        try:
            with self._zip.open(member) as stream:
                return _header(stream, f"{self.name}::{member}")
        except PhotonError:
            raise
        except _DAMAGE as error:
            raise CorruptDataError(f"{self.name}: {member} is damaged: {error}") from error

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop`` from the archive."""
        self._check_frames(start, stop)
        frames = np.empty((stop - start, *self.shape[1:]), self._stored)
        out = frames.reshape(-1).view(np.uint8).data
        with self._lock:
            stream = self._stream
            if stream is None:
                raise InvalidInputError(f"{self.name}: the source is closed; open it again")
            try:
                self._skip_to(stream, self._offset + start * self.frame_nbytes)
                for first in range(0, len(out), _PIECE):
                    piece = out[first : first + _PIECE]
                    data = stream.read(len(piece))
                    if len(data) != len(piece):
                        raise EOFError("it ends early")
                    piece[:] = data
            except _DAMAGE as error:
                raise CorruptDataError(
                    f"{self.name}: frames {start}:{stop} cannot be unpacked, the archive is damaged: {error}"
                ) from error
        return frames.astype(self.dtype, copy=False)

    @staticmethod
    def _skip_to(stream: IO[bytes], position: int) -> None:
        if position < stream.tell():
            stream.seek(0)
        # The seek of the stream would decompress 16 MiB at a time.
        while left := position - stream.tell():
            if not stream.read(min(left, _PIECE)):
                raise EOFError("it ends early")

    def close(self) -> None:
        """Close the archive."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
                self._stream = None
            self._zip.close()


def open_npy(url: str, *, storage_options: dict[str, Any] | None = None, truncated: str = ERROR) -> Source:
    """Open a ``.npy`` file on a local disk or, read by byte ranges, at an fsspec URL.

    Raises
    ------
    StoreNotFoundError, CorruptDataError, InvalidInputError, UnsupportedTypeError
        See :class:`NpySource` and :class:`RemoteNpySource`.
    """
    if "://" not in url:
        return NpySource(url, truncated=truncated)
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    try:
        fs, path = url_to_fs(url, **(storage_options or {}))
    except (ValueError, ImportError, TypeError) as error:
        raise InvalidInputError(f"{url}: no file can be opened there: {error}") from error
    return (
        NpySource(path, truncated=truncated)
        if isinstance(fs, LocalFileSystem)
        else RemoteNpySource(fs, path, name=url)
    )


def _header(file: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, Fortran order, dtype and offset of the data."""
    try:
        version = npy_format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            # 3.0 exists only for structured dtypes with unicode field names.
            raise UnsupportedTypeError(
                f"{name}: .npy format {version[0]}.{version[1]} holds structured data; "
                "a movie is an array of numbers"
            )
        form, read = (
            ("<H", npy_format.read_array_header_1_0)
            if version == (1, 0)
            else ("<I", npy_format.read_array_header_2_0)
        )
        # NumPy would read a header of up to 4 GiB, which a few kilobytes of an archive may expand to.
        prefix = file.read(struct.calcsize(form))
        (length,) = struct.unpack(form, prefix)
        if length > _LONGEST_HEADER:
            raise ValueError(f"its length is {length:,} bytes; at most {_LONGEST_HEADER:,} are allowed")
        shape, fortran, dtype = read(io.BytesIO(prefix + file.read(length)))
    except (ValueError, struct.error, SyntaxError, tokenize.TokenError) as error:
        raise CorruptDataError(
            f"{name}: this is not an .npy file, or its header is damaged: {error}"
        ) from error
    return shape, fortran, dtype, file.tell()


def _check_size(shape: tuple[int, ...], dtype: np.dtype[Any], offset: int, size: int, name: str) -> None:
    needed = offset + math.prod(shape) * dtype.itemsize
    if size < needed:
        raise CorruptDataError(
            f"{name}: the file is truncated: its header promises {dtype} {shape}, {needed} bytes, "
            f"but it has {size}"
        )


def _refuse_fortran(fortran: bool, name: str) -> None:
    if fortran:
        raise InvalidInputError(
            f"{name}: the array is in Fortran order, so a frame is spread over the whole file; "
            "save it again in C order: np.save(path, np.ascontiguousarray(movie))"
        )
