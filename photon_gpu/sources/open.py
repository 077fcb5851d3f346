"""Open a movie as a source, chosen by the type of an object or the suffix of a path.

Each type of source has its own module, which is imported when it is first used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Unpack

from photon_gpu.encode_settings import location, options_of
from photon_gpu.errors import InvalidInputError, StoreNotFoundError, UnsupportedTypeError
from photon_gpu.file_types import SUFFIXES, described, foreign, type_of
from photon_gpu.redact_credentials import remember
from photon_gpu.sources.base import Source
from photon_gpu.sources.check import check_movie
from photon_gpu.sources.multifile.find import MovieFiles, find_files, is_list_of_paths
from photon_gpu.sources.multifile.joined import JoinedSource
from photon_gpu.sources.multifile.numbering import order_files
from photon_gpu.sources.select.axes import letters
from photon_gpu.sources.select.open_options import SELECTION, OpenOptions, SourceRequest, split_options
from photon_gpu.sources.select.selected import selected
from photon_gpu.sources.select.xarray_attributes import with_attributes
from photon_gpu.sources.select.xarray_coordinates import Coordinate, with_coordinates

__all__ = ["Source", "check_movie", "open_source"]


@dataclass(frozen=True, kw_only=True)
class _FileType:
    name: str
    module: str
    opener: str
    options: tuple[str, ...]
    inner: str | None = None  # option for the text behind "::" in "file.h5::/data/movie"
    remote: bool = False
    opens_others: bool = False  # accepts ``open_other``, since its movie may be in other files

    @property
    def suffixes(self) -> tuple[str, ...]:
        return SUFFIXES[self.name]


_FILE_TYPES = (
    _FileType(
        name="TIFF",
        module="photon_gpu.sources.tiff.reader",
        opener="TiffSource",
        options=("series", "as_pages", "flyback", "volumes", "missing", "truncated"),
    ),
    _FileType(
        name="NumPy",
        module="photon_gpu.sources.npy",
        opener="open_npy",
        options=("truncated", "storage_options"),
        remote=True,
    ),
    _FileType(
        name="NumPy archive",
        module="photon_gpu.sources.npy",
        opener="NpzSource",
        options=("key",),
        inner="key",
    ),
    _FileType(
        name="HDF5",
        module="photon_gpu.sources.hdf5.reader",
        opener="open_hdf5",
        options=("dataset", "missing"),
        inner="dataset",
        opens_others=True,
    ),
    _FileType(
        name="Zarr",
        module="photon_gpu.sources.zarr",
        opener="open_zarr",
        options=("path", "missing", "storage_options"),
        inner="path",
        remote=True,
    ),
    _FileType(
        name="raw frames",
        module="photon_gpu.sources.raw.open",
        opener="open_raw",
        options=("shape", "dtype", "offset_bytes", "truncated"),
    ),
    _FileType(
        name="Scanbox",
        module="photon_gpu.sources.raw.scanbox",
        opener="ScanboxSource",
        options=("inverted", "truncated"),
    ),
    _FileType(
        name="FITS",
        module="photon_gpu.sources.extras.fits",
        opener="FitsSource",
        options=("hdu",),
        inner="hdu",
    ),
    _FileType(name="ND2", module="photon_gpu.sources.extras.nd2", opener="Nd2Source", options=()),
)
_TYPES = {file_type.name: file_type for file_type in _FILE_TYPES}
_TIFF, _HDF5, _ZARR, _RAW = (_TYPES[name] for name in ("TIFF", "HDF5", "Zarr", "raw frames"))
_ZARR_METADATA = (".zarray", ".zgroup", "zarr.json")


def open_source(obj: Any, **options: Unpack[OpenOptions]) -> Source:
    """Open a movie ``(T, ..., H, W)``: a file, a URL or an array.

    Parameters
    ----------
    obj : str, path-like, array-like or Source
        - a list of paths, a glob (``"run_*.tif"``) or a folder: files of one movie. The metadata of OME and
          Micro-Manager files say which frame is where; else the numbers in their names do (natural order,
          no gaps);
        - a path or URL: TIFF (``.tif``, ``.tiff``, ``.btf``), NumPy (``.npy``,
          ``.npz``), HDF5 of any suffix (``.h5``, ``.nwb``), Zarr (``.zarr`` or any
          Zarr folder), raw frames (``.raw``, ``.bin``, ``.dat``; ThorImage and suite2p), Scanbox
          (``.sbx``), FITS and ND2 (docs/files.md). ``.npy`` and Zarr may also be at an fsspec URL.
          ``"file.h5::/data/movie"`` names an array within HDF5, ``.npz`` or Zarr;
        - an array, a memory map, or an object that turns into an array;
        - an array on a GPU (``__cuda_array_interface__`` or DLPack), which stays there;
        - an object with ``shape``, ``dtype`` and slices over frames (``movie.counts``, h5py, zarr, xarray),
          which is never loaded as a whole;
        - a dask array (also within xarray), which is computed block by block;
        - a :class:`Source`, which is returned unchanged where nothing is selected.
    **options
        For all: ``axes`` (names of the dimensions as they are stored, such as ``"tczyx"``), ``channels`` and
        ``planes`` (how many of them alternate from frame to frame, channels fastest), ``channel``, ``plane``,
        ``position`` (take only this one: a number from 0, or a channel's name) and ``frames`` (``"A:B"``:
        take these, counted after ``channels`` and ``planes``); ``timestamps`` (seconds, one per frame, in
        place of what the source says: numbers, or a ``.npy`` or text file of them).
        For TIFF ``series``, ``as_pages``, ``flyback`` and ``volumes``, for ``.npz`` ``key``, for HDF5
        ``dataset``, for Zarr ``path``, for FITS ``hdu`` (``dataset`` stands for each of these), for raw
        frames ``shape`` of a frame, ``dtype`` and ``offset_bytes``, for Scanbox ``inverted``;
        ``storage_options`` for URLs.
        For TIFF, HDF5 and Zarr, also for open datasets and arrays, ``missing``: what to do if frames are
        missing, wholly or in part. ``"error"`` (default): raise an error. ``"zero"``: read zeros, and list
        the frames in :attr:`Source.lost`. ``"fill"`` (HDF5 and Zarr): take the fill value as data.
        ``"skip"`` (several files): join the files on both sides of a gap in their numbers.
        For TIFF, ``.npy``, raw frames and Scanbox, ``truncated``: what to do if a file was cut off.
        ``"error"`` (default), or ``"keep"``: take the whole frames, and say in :attr:`Source.truncation` what
        is missing.
        ``progress``: called with ``(files_opened, files_in_all)``.

    Returns
    -------
    Source
        An open source: close it, or use it in a ``with`` block.

    Raises
    ------
    StoreNotFoundError
        If there is nothing at the path.
    InvalidInputError
        If it is not a single movie, or an option is unknown.
    UnsupportedTypeError
        If the object or its dtype cannot be a movie.
    CorruptDataError
        If the file is truncated or damaged.

    Examples
    --------
    >>> import numpy as np
    >>> with open_source(np.zeros((5, 2, 2), "uint16")) as movie:
    ...     movie.shape, movie.read(0, 2).shape
    ((5, 2, 2), (2, 2, 2))
    >>> open_source(np.zeros((6, 4, 4), "uint16"), channels=2, channel=0, frames="0:2").shape
    (2, 4, 4)
    """
    if isinstance(obj, SourceRequest):
        return open_source(obj.source, **{**obj.options, **options})
    selection, own = split_options({**options})
    source = _opened(obj, own)
    planes = source.stated_planes
    if planes > 1 and source.shape[0] % planes == 0 and "axes" not in selection:
        selection.setdefault("planes", planes)
    try:
        return selected(source, owned=source is not obj, **selection)
    except BaseException:
        if source is not obj:
            source.close()
        raise


def open_in_order(paths: Sequence[str], **options: Unpack[OpenOptions]) -> Source:
    """Open files as one movie in the order of a list, and ignore the numbers in their names."""
    if any(_file_type(path, _local(path)) is not _TIFF for path in paths):
        return JoinedSource(paths, lambda path: open_source(path, **options), f"{paths[0]} and more files")
    join = import_module("photon_gpu.sources.tiff.join_files").open_tiffs
    selection, own = split_options({**options})
    own |= selection
    _check_options(paths[0], _TIFF, own)
    return _as_source(join(paths, f"{paths[0]} and {len(paths) - 1} more files", as_listed=True, **own))


def _opened(obj: Any, options: dict[str, Any]) -> Source:
    """Open a movie, with its dimensions in their stored order."""
    if isinstance(obj, bytes):
        raise UnsupportedTypeError(f"the path {obj!r} is bytes; give it as str")
    if isinstance(obj, str | os.PathLike) or is_list_of_paths(obj):
        for path in obj if isinstance(obj, list | tuple) else [obj]:
            location("source", path)
        if (several := _several(obj)) is not None:
            return _open_files(several, options)
        return _open_location(os.fspath(obj), options)
    options.pop("progress", None)  # only files take a long time to open
    zarr, h5py = sys.modules.get("zarr"), sys.modules.get("h5py")
    allowed: set[str] = set()
    if (zarr is not None and isinstance(obj, zarr.Array)) or (
        h5py is not None and isinstance(obj, h5py.Dataset)
    ):
        allowed = {"missing"}
    elif zarr is not None and isinstance(obj, zarr.Group | zarr.abc.store.Store):
        allowed = {"missing", "path"}
    if options.keys() - allowed:
        refused = ", ".join(sorted(options.keys() - allowed))
        raise InvalidInputError(
            f"{refused}: not allowed for a {type(obj).__name__}, which takes only "
            f"{', '.join([*SELECTION, *sorted(allowed)])}; a path or a URL takes more"
        )
    if isinstance(obj, Source):
        return obj
    return _wrap(obj, options)


def _several(obj: Any) -> MovieFiles | None:
    """Files of a list, a glob or a folder; None for a file, for a folder that is a store, and for a URL."""
    if not is_list_of_paths(obj):
        text = os.fspath(obj)
        if isinstance(text, bytes):
            return None
        local = _local(text)
        file_type = _file_type(text, local)
        if file_type is _ZARR or (file_type is _RAW and local is not None and local.is_dir()):
            return None
    return find_files(obj, _type_name)


def _type_name(path: str) -> str | None:
    """Name of the type of a file, by its suffix."""
    file_type = _file_type(path, None)
    return file_type.name if file_type not in (None, _ZARR, _RAW) else None  # .bin and .dat may be anything


def _open_files(several: MovieFiles, options: dict[str, Any]) -> Source:
    """Open several files as one movie."""
    progress = options.pop("progress", None)
    paths = several.paths
    if len(paths) == 1:
        return _open_location(paths[0], options)
    outers = [path.rpartition("::")[0] or path for path in paths]
    for path in outers:
        if not os.path.exists(path):  # noqa: PTH110 - thousands of them, or a URL
            raise StoreNotFoundError(f"{path}: there is no such file (it is 1 of {len(paths)} of a movie)")
    of_each_suffix = {os.path.splitext(path)[1]: path for path in outers}  # noqa: PTH122
    types = {_file_type(path, _local(path)) for path in of_each_suffix.values()}
    if len(types) > 1 or None in types:
        names = sorted({PurePosixPath(path).suffix or "no suffix" for path in paths})
        raise InvalidInputError(
            f"{several.where}: the files of a movie are of one type; these end with {', '.join(names)}. "
            f"Supported are: {described()}"
        )
    if types == {_TIFF}:
        _check_options(several.where, _TIFF, options)
        join = import_module("photon_gpu.sources.tiff.join_files").open_tiffs
        return _as_source(join(paths, several.where, ordered=several.ordered, progress=progress, **options))
    missing = options.pop("missing", None)
    skip = missing if missing == "skip" else "error"
    order = order_files(paths, several.where, missing=skip, ordered=several.ordered)
    if len(order.columns) > 1:
        raise InvalidInputError(
            f"{several.where}: the names count {len(order.columns)} channels or planes, and only TIFF files "
            "are joined along these. Give the files of one channel and plane"
        )
    own = options if missing in (None, "skip") else {**options, "missing": missing}
    files = [path for path in order.columns[0] if path is not None]
    return JoinedSource(files, lambda path: _open_location(path, own), several.where, progress=progress)


def is_container(location: str) -> bool:
    """Whether a path or URL names a file that :func:`open_source` reads, other than raw frames.

    Examples
    --------
    >>> is_container("run.h5::/data"), is_container("scan.raw")
    (True, False)
    """
    outer = location.rpartition("::")[0] or location
    if any(_file_type(text, _local(text)) not in (None, _RAW) for text in (location, outer)):
        return True
    return os.path.isdir(location) or bool(set("*?[") & set(location))  # noqa: PTH112 - a path of any form


def _wrap(obj: Any, options: Mapping[str, Any]) -> Source:
    import numpy as np

    from photon_gpu.sources.array import ArraySource
    from photon_gpu.sources.cuda import CudaSource, lies_on_gpu
    from photon_gpu.sources.sliceable import SliceableSource

    if hasattr(obj, "counts") and hasattr(obj, "noise"):
        raise InvalidInputError(
            "this is a photon movie, and its slices are stabilized values; pass movie.counts to read "
            "its counts"
        )
    if isinstance(obj, np.ndarray | list | tuple):
        return ArraySource(obj)
    if lies_on_gpu(obj):
        return CudaSource(obj)
    # An object of a library exists only if the library was imported.
    zarr, h5py = sys.modules.get("zarr"), sys.modules.get("h5py")
    if zarr is not None and isinstance(obj, zarr.Array):
        return _as_source(import_module("photon_gpu.sources.zarr").ZarrSource(obj, **options))
    if zarr is not None and isinstance(obj, zarr.Group | zarr.abc.store.Store):
        return _as_source(import_module("photon_gpu.sources.zarr").open_zarr(obj, **options))
    if h5py is not None and isinstance(obj, h5py.Dataset):
        return _as_source(import_module("photon_gpu.sources.hdf5.reader").Hdf5Source(obj, **options))
    if (dask := sys.modules.get("dask.array")) is not None:
        # Read the blocks of an xarray first, since .data loads arrays that are not dask arrays.
        blocks = hasattr(obj, "dims") and getattr(obj, "chunks", None) is not None
        array = getattr(obj, "data", obj) if blocks else obj
        if isinstance(array, dask.Array):
            source = import_module("photon_gpu.sources.dask").DaskSource(
                array, name=getattr(obj, "name", None)
            )
            return _labelled(_as_source(source), obj)
    if all(hasattr(obj, name) for name in ("shape", "dtype", "__getitem__")) and _is_numpy_dtype(obj.dtype):
        return _labelled(SliceableSource(obj), obj)
    if hasattr(obj, "__array__") or hasattr(obj, "__array_interface__") or isinstance(obj, memoryview):
        return ArraySource(obj, name=type(obj).__name__)
    raise UnsupportedTypeError(
        f"a {type(obj).__name__} arrived; a movie is an array, an object with shape, dtype and "
        f"slices over frames, a Source, or a path: {described()}"
    )


def _labelled(source: Source, obj: Any) -> Source:
    """Add the dimension names, coordinates and attributes of an xarray object to its source."""
    dims = getattr(obj, "dims", None)
    source.stored_axes = letters(dims) if isinstance(dims, tuple) else None
    xarray = sys.modules.get("xarray")
    if xarray is not None and isinstance(obj, xarray.DataArray):
        coordinates = [
            Coordinate(str(name), tuple(map(str, one.dims)), one.values, one.attrs)
            for name, one in obj.coords.items()
        ]
        read = with_coordinates(source.recording, tuple(map(str, obj.dims)), coordinates)
        source.recording = with_attributes(read, obj.attrs, {one.name: one.attributes for one in coordinates})
    return source


def _is_numpy_dtype(dtype: Any) -> bool:
    import numpy as np

    try:
        np.dtype(dtype)
    except TypeError:
        return False  # a dtype of torch; its tensors turn into arrays
    return True


def _open_location(text: str, options: Mapping[str, Any]) -> Source:
    options = {name: value for name, value in options.items() if name != "progress"}
    remember(text, options_of("storage_options", options.get("storage_options")))
    local = _local(text)
    outer, split, inner = text.rpartition("::")
    if split and "://" not in inner and not (local is not None and local.exists()):
        file_type = _file_type(outer, _local(outer))
        if file_type is not None and file_type.inner is not None:
            if file_type.inner in options:
                raise InvalidInputError(
                    f"{text}: {inner!r} is named after '::', and {options[file_type.inner]!r} by "
                    f"{file_type.inner}=; give one of them"
                )
            text, local, options[file_type.inner] = outer, _local(outer), inner
    if local is not None and not local.exists():
        raise StoreNotFoundError(f"{local}: there is no such file or folder")
    if local is not None and not local.is_file() and not local.is_dir():
        raise InvalidInputError(
            f"{local}: neither a file nor a folder; photon-gpu record reads what comes through a pipe"
        )
    file_type = _file_type(text, local)
    if file_type is None:
        if (way := foreign(PurePosixPath(text.lower()).suffix)) is not None:
            raise InvalidInputError(f"{text}: {way}")
        noun = "folder" if local is not None and local.is_dir() else "file"
        raise InvalidInputError(f"{text}: this kind of {noun} is not supported; supported are: {described()}")
    if "dataset" in options and file_type.inner is not None:  # the name of the option for all types
        options.setdefault(file_type.inner, options.pop("dataset"))
    _check_options(text, file_type, options)
    if local is None and not file_type.remote:
        raise InvalidInputError(
            f"{text}: {file_type.name} is read from local files only; copy it here, or convert it to "
            "Zarr or .npy"
        )
    opener = getattr(import_module(file_type.module), file_type.opener)
    if file_type.opens_others:
        options["open_other"] = open_source
    if local is None:
        return _as_source(opener(text, **options))
    options.pop("storage_options", None)  # a local file needs none
    return _as_source(opener(str(local), **options))


def _check_options(name: str, file_type: _FileType, options: Mapping[str, Any]) -> None:
    unknown = sorted(set(options) - set(file_type.options))
    if unknown:
        raise InvalidInputError(
            f"{name}: option {unknown[0]!r} is not known for {file_type.name}; it takes "
            f"{', '.join(file_type.options) or 'none'}"
        )


def _as_source(made: Any) -> Source:
    assert isinstance(made, Source)
    return made


def _file_type(text: str, local: Path | None) -> _FileType | None:
    if local is not None and local.is_dir():
        if local.suffix == ".zarr" or any((local / name).exists() for name in _ZARR_METADATA):
            return _ZARR
        return _RAW if (local / "Experiment.xml").exists() and any(local.glob("*.raw")) else None
    # A query, such as a signature, may follow the file name in an HTTP URL.
    path = PurePosixPath(text.lower().partition("?")[0] if local is None else local.name.lower())
    if any(part.endswith(".zarr") for part in path.parts):
        return _ZARR  # s3://bucket/movie.zarr/group/array
    by_suffix = next((file_type for file_type in _FILE_TYPES if path.suffix in file_type.suffixes), None)
    if by_suffix is None and foreign(path.suffix) is None and local is not None and local.is_file():
        return _HDF5 if _is_hdf5(local) else None
    return by_suffix


def _is_hdf5(path: Path) -> bool:
    """Whether a file has the HDF5 signature, at byte 0 or after a user block."""
    try:
        with path.open("rb") as file:
            for start in (0, 512, 1024, 2048):
                file.seek(start)
                if type_of(file.read(8)) == "HDF5":
                    return True
    except OSError:
        pass  # opening the file raises the error
    return False


def _local(text: str) -> Path | None:
    """Local path of ``text``, or None for a remote URL."""
    if "://" not in text:
        return Path(text)
    if text.startswith(("file://", "local://")):
        from fsspec.implementations.local import LocalFileSystem

        return Path(LocalFileSystem._strip_protocol(text))
    return None
