"""What is in the checkout is what gets installed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed():
    result = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "photon_gpu").rglob("__init__.py")
    }
    kernels = (path.parent.relative_to(ROOT).parts for path in (ROOT / "kernels").rglob("__init__.py"))
    result |= {".".join(["photon_gpu", *parts]) for parts in kernels}
    assert set(CONFIG["tool"]["setuptools"]["packages"]) == result | {"photon_gpu.decoder"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    if not any(files):
        pytest.skip("not a git checkout: what belongs to the source is not known")
    for name in files:
        if name and not name.startswith("tests/") and (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_module_and_data_file(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "photon_gpu").rglob("*")
        if path.suffix in (".py", ".json", ".typed", ".html", ".css", ".yaml") or path.name == "py.typed"
    }
    wanted |= {
        f"photon_gpu/{path.relative_to(ROOT)}"
        for path in (ROOT / "kernels").rglob("*")
        if path.suffix in (".py", ".cu")
    }
    wanted.add("photon_gpu/decoder/photon_decode.py")
    assert {name for name in wanted if "__pycache__" not in name} <= names


def test_the_wheel_has_the_command_and_the_codecs(wheel):
    archive = zipfile.ZipFile(wheel)
    entry = next(
        archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt")
    )
    for line in (
        "photon-gpu = photon_gpu.cli:main",
        "[numcodecs.codecs]",
        "[zarr.codecs]",
        "[datajoint.codecs]",
        "[napari.manifest]",
    ):
        assert line in entry
