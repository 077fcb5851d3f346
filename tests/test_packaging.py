"""What an install must contain."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="runs from a checkout only")
def test_every_package_is_installed():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "photon_gpu").rglob("__init__.py")
    }
    assert listed == found | {"photon_gpu.kernels"}
