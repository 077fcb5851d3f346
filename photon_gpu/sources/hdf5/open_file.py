"""Open HDF5 files, check that their filters are installed, and raise errors that name the cause."""

from __future__ import annotations

import contextlib
import os
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py

from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning

# Filters of hdf5plugin, by their number in the registry of the HDF Group, and other common filters.
_FILTERS = {
    305: "LZO",
    307: "bzip2",
    480: "photon, of libphoton",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "Bitshuffle",
    32013: "ZFP",
    32015: "Zstd",
    32017: "SZ",
    32018: "FCIDECOMP",
    32019: "JPEG",
    32024: "SZ3",
    32026: "Blosc2",
    32028: "Sperr",
}


def open_file(name: str) -> h5py.File:
    """Open an HDF5 file for reading. An acquisition may still write it in SWMR mode.

    Raises
    ------
    PermissionError
    InvalidInputError
        Another program writes the file.
    CorruptDataError
        The file is truncated, not HDF5, or was never closed by its writer.

    Warns
    -----
    PhotonWarning
        The file is open in SWMR mode, so its writer may add more frames.
    """
    try:
        return h5py.File(name, "r")
    except PermissionError as error:
        raise PermissionError(error.errno, "no permission to read the file", name) from error
    except BlockingIOError as error:
        raise InvalidInputError(
            f"{name}: another program has the file open for writing; close it there, or copy the file"
        ) from error
    except OSError as error:
        if "already open for write" in str(error):
            return _open_swmr(name)
        raise CorruptDataError(
            f"{name}: the HDF5 file is truncated, damaged, or not HDF5: {error}"
        ) from error


def _open_swmr(name: str) -> h5py.File:
    try:
        file = h5py.File(name, "r", swmr=True)
    except OSError as error:
        raise InvalidInputError(
            f"{name}: another program has the file open for writing, or ended without closing it. Close it "
            "there; if it ended, run `h5clear -s` on a copy of the file and read the copy"
        ) from error
    warnings.warn(
        f"{name}: it is marked as being written (SWMR): only frames that are there now are read. Where its "
        "writer still runs, read it again once it is complete",
        PhotonWarning,
        stacklevel=2,
    )
    return file


def check_filters(dataset: Any, name: str) -> None:
    """Load ``hdf5plugin`` if a dataset needs it.

    Raises
    ------
    InvalidInputError
        A filter of the dataset is not installed.
    """
    if dataset.is_virtual:  # its parts may need the plugin
        with contextlib.suppress(ImportError):
            import_module("hdf5plugin")
        return
    filters = dataset.id.get_create_plist()
    numbers = [filters.get_filter(index)[0] for index in range(filters.get_nfilters())]
    for number in numbers:
        if h5py.h5z.filter_avail(number):
            continue
        installed = True
        try:
            import_module("hdf5plugin")
        except ImportError:
            installed = False
        if h5py.h5z.filter_avail(number):
            continue
        cure = (
            "hdf5plugin does not have it: install the filter, and name its folder by HDF5_PLUGIN_PATH"
            if installed
            else "pip install hdf5plugin (or photon-gpu[hdf5])"
        )
        raise InvalidInputError(
            f"{name}: it needs HDF5 filter {number} ({_FILTERS.get(number, 'unknown')}), which is not "
            f"installed: {cure}"
        )


def check_external(dataset: Any, name: str) -> None:
    """Refuse a dataset whose external files are absent, or too short, which HDF5 would read as zeros."""
    left = dataset.nbytes
    for file, offset, nbytes in dataset.external or ():
        path = _external_path(dataset, os.fsdecode(file))
        end = offset + min(nbytes, left)
        left -= end - offset
        if end == offset:
            continue
        if not path.exists():
            # HDF5 looks for relative names in the working folder, not beside the file.
            advice = (
                "copy it there"
                if path.is_absolute()
                else "run in the folder that has it, or set HDF5_EXTFILE_PREFIX to that folder"
            )
            raise CorruptDataError(
                f"{name}: its data is in the external file {str(path)!r}, absent: {advice}"
            )
        if (size := path.stat().st_size) < end:
            raise CorruptDataError(
                f"{name}: its external file {str(path)!r} is truncated: {end} bytes are needed, it has {size}"
            )


def _external_path(dataset: Any, file: str) -> Path:
    """Path at which HDF5 looks for an external file."""
    prefix = os.environ.get("HDF5_EXTFILE_PREFIX") or os.fsdecode(
        dataset.id.get_access_plist().get_efile_prefix()
    )
    if prefix.startswith("${ORIGIN}"):
        prefix = f"{Path(dataset.file.filename).resolve().parent}{prefix.removeprefix('${ORIGIN}')}"
    return Path(prefix) / file
