"""Diagnose this machine: versions, backends, devices, folders and limits, with advice on problems."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.runtime.physical_memory import memory_bytes
from photon_gpu.engine.runtime.pool import worker_count
from photon_gpu.errors import BackendUnavailableError
from photon_gpu.writer.report import in_columns

_PACKAGES = ("photon-gpu", "numpy", "numba", "numcodecs", "zarr", "fsspec", "tifffile", "h5py")
_EXTRAS = {"s3": "s3fs", "gcs": "gcsfs", "datajoint": "datajoint", "dask": "dask"}
_FEW_FILES = 1024
_LITTLE_MEMORY, _LITTLE_DISK = 4 << 30, 10 << 30


@dataclass(frozen=True, kw_only=True)
class MachineFinding:
    """Result of one examination of the machine.

    Attributes
    ----------
    name, state : str
    advice : str
        Remedy for a problem; empty if there is none.
    broken : bool
        Whether photon_gpu cannot work before the problem is solved.
    """

    name: str
    state: str
    advice: str = ""
    broken: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """All findings; :attr:`exit_code` is 1 if something is broken."""

    findings: tuple[MachineFinding, ...]

    @property
    def exit_code(self) -> int:
        """1 if photon_gpu cannot work here, else 0."""
        return int(any(finding.broken for finding in self.findings))

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return {
            one.name: {"state": one.state, "advice": one.advice, "broken": one.broken}
            for one in self.findings
        }

    def rows(self) -> list[tuple[str, str]]:
        """Name and finding of each line of the table, with the advice below it."""
        lines: list[tuple[str, str]] = []
        for one in self.findings:
            lines.append((one.name, one.state))
            if one.advice:
                lines.append(("note", one.advice))
        return lines

    def __str__(self) -> str:
        return in_columns(self.rows())


def diagnose() -> Diagnosis:
    """Examine versions, backends, devices, cache folders and limits of this machine.

    Examples
    --------
    >>> diagnose().exit_code
    0
    """
    return Diagnosis((*_versions(), *_backends(), *_extras(), *_folders(), *_limits()))


def _versions() -> Iterator[MachineFinding]:
    yield MachineFinding(name="Python", state=f"{platform.python_version()} on {platform.platform()}")
    for package in _PACKAGES:
        try:
            yield MachineFinding(name=package, state=version(package))
        except PackageNotFoundError:
            yield MachineFinding(
                name=package, state="not installed", advice=f"pip install {package}", broken=True
            )


def _backends() -> Iterator[MachineFinding]:
    try:
        yield MachineFinding(name="backend", state=get_backend().name)
    except BackendUnavailableError as error:
        yield MachineFinding(name="backend", state="none", advice=str(error), broken=True)
    try:
        from photon_gpu.engine.gpu.devices import device_count, load_cupy

        count, runtime = device_count(), load_cupy().cuda.runtime
        for number in range(count):
            name = runtime.getDeviceProperties(number)["name"]
            yield MachineFinding(
                name=f"GPU {number}", state=name.decode() if isinstance(name, bytes) else str(name)
            )
    except BackendUnavailableError as error:
        yield MachineFinding(name="GPU", state="none; not needed", advice=f"to use one: {error}")


def _extras() -> Iterator[MachineFinding]:
    for extra, module in _EXTRAS.items():
        there = find_spec(module) is not None
        yield MachineFinding(
            name=f"extra {extra}",
            state=version(module) if there else "not installed",
            advice="" if there else f"if you need it: pip install 'photon-gpu[{extra}]'",
        )


def _folders() -> Iterator[MachineFinding]:
    with suppress(ImportError):  # the line of the backend says what to install
        from photon_gpu.kernels.cpu_cache import cache_folder

        kernels = cache_folder()
        lost = kernels.parent == Path(tempfile.gettempdir())
        advice = "every process compiles the kernels again: set NUMBA_CACHE_DIR to a folder that is kept"
        yield MachineFinding(name="compiled kernels", state=str(kernels), advice=advice if lost else "")
    for name, folder in (("temporary files", tempfile.gettempdir()), ("this folder", os.curdir)):
        free = shutil.disk_usage(folder).free
        advice = "little: a spool or an export may fill it" if free < _LITTLE_DISK else ""
        yield MachineFinding(name=name, state=f"{folder}, {free / 1e9:,.1f} GB free", advice=advice)


def _limits() -> Iterator[MachineFinding]:
    cores, memory = worker_count(None), memory_bytes()
    yield MachineFinding(name="cores", state=f"{cores} of {os.cpu_count()} may be used")
    advice = "little: take a smaller chunk_frames, or fewer workers" if memory < _LITTLE_MEMORY else ""
    yield MachineFinding(name="memory", state=f"{memory / 1e9:,.1f} GB", advice=advice)
    if sys.platform != "win32":
        import resource

        files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        advice = f"few for movies in many files: ulimit -n {most}" if files < min(_FEW_FILES, most) else ""
        yield MachineFinding(name="open files", state=f"{files:,} at once", advice=advice)
