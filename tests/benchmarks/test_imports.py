"""Every benchmark can be imported: the docs tell readers to run them, and no other test imports them all."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_imported_and_run(name):
    pytest.importorskip("datajoint")
    assert callable(importlib.import_module(f"benchmarks.{name}").main)
    assert 'if __name__ == "__main__":' in (FOLDER / f"{name}.py").read_text(), "helpers lie in support/"
