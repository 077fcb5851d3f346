"""One file per contender; each writes a movie into a folder and reads it back, over its own best API."""

from __future__ import annotations

from importlib import import_module

from benchmarks.contenders.bases.contender import Contender
from benchmarks.contenders.bases.error_bounded import Bounded

MODULES = (
    "ours",
    "anscombe_transform",
    "zarr_blosc",
    "blosc2",
    "pco",
    "zstd",
    "jpegls",
    "jpegxl",
    "htj2k",
    "zfp",
    "sz3",
    "acquire_zarr",
    "tensorstore_zarr",
    "zarrs_zarr",
)


def every_contender() -> list[Contender]:
    """Return all contenders, also those whose packages are missing here (see :meth:`Contender.missing`)."""
    return [one for name in MODULES for one in import_module(f"benchmarks.contenders.{name}").contenders()]


def engine_contenders() -> list[Contender]:
    """Return photon_gpu and the installed packages that store photon-limited movies in Zarr today."""
    from benchmarks.contenders import anscombe_transform, ours, zarr_blosc

    chosen = [*ours.contenders(), *anscombe_transform.contenders(), *zarr_blosc.contenders()]
    return [one for one in chosen if one.missing() is None]


def bounded_contenders() -> list[Bounded]:
    """Error-bounded compressors whose packages are installed."""
    from benchmarks.contenders import blosc2, jpegls, jpegxl, sz3, zfp

    every = [
        sz3.Sz3(),
        zfp.Zfp(),
        jpegls.Codes(),
        jpegls.Near(),
        jpegxl.JpegXl(),
        blosc2.Blosc2Precision(),
    ]
    return [contender for contender in every if contender.installed()]
