"""Suffixes of movie files: of the formats that are read, and of formats that are not."""

from __future__ import annotations

SUFFIXES = {
    "TIFF": (".tif", ".tiff", ".btf", ".tf8", ".ome"),
    "NumPy": (".npy",),
    "NumPy archive": (".npz",),
    "HDF5": (".h5", ".hdf5", ".hdf", ".he5", ".nwb"),
    "Zarr": (".zarr",),
    "raw frames": (".raw", ".bin", ".dat"),
    "Scanbox": (".sbx",),
    "FITS": (".fits", ".fit", ".fts"),
    "ND2": (".nd2",),
}
"""Suffixes of each type of file that :func:`photon_gpu.open_source` reads."""

SIGNATURES = {
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "NumPy": (b"\x93NUMPY",),
    "HDF5": (b"\x89HDF\r\n\x1a\n",),
    "NumPy archive": (b"PK\x03\x04",),
}
"""Signatures of files that hold more than raw frames."""

ZARR = "Zarr"

_BIOIO = "bioio.BioImage(path).dask_data"
_VIDEO = "imageio.v3.imread(path)"
FOREIGN = {
    ".czi": ("Zeiss CZI", f"pip install bioio bioio-czi; array = {_BIOIO}"),
    ".lif": ("Leica LIF", f"pip install bioio bioio-lif; array = {_BIOIO}"),
    ".oir": ("Olympus OIR", f"pip install bioio bioio-bioformats; array = {_BIOIO}"),
    ".oif": ("Olympus OIF", "pip install oiffile; array = oiffile.imread(path)"),
    ".oib": ("Olympus OIB", "pip install oiffile; array = oiffile.imread(path)"),
    ".vsi": ("Olympus VSI", f"pip install bioio bioio-bioformats; array = {_BIOIO}"),
    ".dcimg": ("Hamamatsu DCIMG", "pip install dcimg; array = dcimg.DCIMGFile(path)[:]"),
    ".ims": ("Imaris", "pip install imaris-ims-file-reader; array = ims(path)"),
    ".lsm": ("Zeiss LSM", "array = tifffile.imread(path)"),
    ".stk": ("MetaMorph STK", "array = tifffile.imread(path)"),
    ".dv": ("DeltaVision", f"pip install bioio bioio-dv; array = {_BIOIO}"),
    ".mrc": ("MRC", "pip install mrcfile; array = mrcfile.mmap(path).data"),
    ".sif": ("Andor SIF", "pip install sif-parser; array = sif_parser.np_open(path)[0]"),
    ".spe": ("Princeton SPE", "pip install spe2py; array = spe_loader.load_from_files([path]).data"),
    ".seq": ("Norpix SEQ", "pip install pims; array = pims.open(path)"),
    ".cine": ("Phantom Cine", "pip install pims; array = pims.open(path)"),
    ".avi": ("video", f"pip install imageio imageio-ffmpeg; array = {_VIDEO}"),
    ".mp4": ("video", f"pip install imageio imageio-ffmpeg; array = {_VIDEO}"),
    ".mov": ("video", f"pip install imageio imageio-ffmpeg; array = {_VIDEO}"),
    ".mkv": ("video", f"pip install imageio imageio-ffmpeg; array = {_VIDEO}"),
}
"""Formats that are not read, by suffix: the name, and how to open a file as an array."""


def type_of(first_bytes: bytes) -> str | None:
    r"""Type of a file by its first eight bytes; None if they are not a known signature.

    Examples
    --------
    >>> type_of(b"\x93NUMPY\x01\x00"), type_of(bytes(8))
    ('NumPy', None)
    """
    return next((name for name, start in SIGNATURES.items() if first_bytes.startswith(start)), None)


def file_suffixes() -> tuple[str, ...]:
    """Suffixes of movies that are one file, not a folder."""
    return tuple(suffix for name, suffixes in SUFFIXES.items() if name != ZARR for suffix in suffixes)


def described() -> str:
    """List all types, each with its most common suffix, for messages.

    Examples
    --------
    >>> described()[:28]
    'TIFF (.tif), NumPy (.npy), N'
    """
    return ", ".join(f"{name} ({suffixes[0]})" for name, suffixes in SUFFIXES.items())


def names() -> str:
    """List the names of all types, for help texts.

    Examples
    --------
    >>> names()
    'TIFF, NumPy, NumPy archive, HDF5, Zarr, raw frames, Scanbox, FITS, ND2'
    """
    return ", ".join(SUFFIXES)


def foreign(suffix: str) -> str | None:
    """Say how to open a file of a format that is not read; None for an unknown suffix.

    Examples
    --------
    >>> foreign(".lsm")
    'Zeiss LSM is not read here: array = tifffile.imread(path), then pass the array in Python'
    """
    if suffix not in FOREIGN:
        return None
    name, way = FOREIGN[suffix]
    return f"{name} is not read here: {way}, then pass the array in Python"
