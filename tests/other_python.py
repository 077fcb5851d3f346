"""Test the newest zarr and numcodecs under a newer Python, if there is one: ``python -m tests.other_python``.

Looks for Python 3.13, then 3.12: on the path, and among the versions of pyenv. Makes an environment with the
newest packages that it can have, and runs the tests of the Zarr v3 codec, sources and dask in it. Without
such a Python it says so, and succeeds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSIONS = ("3.13", "3.12")
ROOT = Path(__file__).parent.parent
PACKAGES = ("hypothesis", "pytest", "pytest-timeout", "pytest-xdist", "hdf5plugin", "zstandard")
# Tests of few kernels: those of every predictor and dtype would compile for longer than they tell of zarr.
TESTS = (
    "tests/plugins/test_zarr3_photon.py",
    "tests/reader/test_dask_arrays.py",
    "tests/sources/test_zarr.py",
)


def newest_python() -> str | None:
    """Path of the newest of ``VERSIONS`` that runs here and is not this one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in VERSIONS:
        if sys.version.startswith(f"{version}."):
            return None
        installed = sorted(pyenv.glob(f"{version}.*/bin/python"))
        for python in (shutil.which(f"python{version}"), *map(str, installed)):
            if python and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
                return python
    return None


def main() -> int:
    """Run the tests; the exit status of pytest, or of what failed before."""
    python = newest_python()
    if python is None:
        print(f"no other Python ({' or '.join(VERSIONS)}) is installed: newer zarr is not tested")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        bin_folder = Path(folder) / ("Scripts" if os.name == "nt" else "bin")
        own = str(bin_folder / "python")
        install = [own, "-m", "pip", "install", "--quiet", "-e", ".[dask]", *PACKAGES]
        if subprocess.run(install, cwd=ROOT).returncode:
            return 1
        versions = "import sys, zarr, numcodecs; print('Python', sys.version.split()[0], 'zarr', "
        versions += "zarr.__version__, 'numcodecs', numcodecs.__version__, flush=True)"
        subprocess.run([own, "-c", versions], cwd=ROOT, check=True)
        options = ["-q", "-n", "logical", "-m", "not slow", "-p", "no:cacheprovider"]
        return subprocess.run([own, "-m", "pytest", *options, *TESTS], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
