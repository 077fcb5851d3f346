"""Every benchmark can be imported: the docs tell readers to run them, and no other test imports them all."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_imported(name):
    pytest.importorskip("datajoint")
    importlib.import_module(f"benchmarks.{name}")
