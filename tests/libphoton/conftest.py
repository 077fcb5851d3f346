"""libphoton, its HDF5 plugin and its fuzzer, built by the machine's C compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "libphoton"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the built files; skips where there is no compiler."""
    if shutil.which("gcc") is None:
        pytest.skip("libphoton is built by gcc")
    folder = tmp_path_factory.mktemp("libphoton")
    for file in [*FOLDER.glob("*.[ch]"), FOLDER / "Makefile"]:
        shutil.copy(file, folder)
    for target in ("libphoton.so", "libh5photon.so", "fuzz"):
        flags = ["CFLAGS=-O2 -Werror"] if target != "fuzz" else []
        subprocess.run(["make", "-s", target, "CC=gcc", *flags], cwd=folder, check=True)
    return folder
