"""Every example in a docstring runs."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What needs more than the core's dependencies, a GPU, or a database runs in that package's own tests.
SKIPPED = (
    "photon_gpu.__main__",
    "photon_gpu.dj",
    "photon_gpu.engine.gpu",
    "photon_gpu.kernels.cuda",
    "photon_gpu.cli",
)


def modules() -> list[str]:
    files = [path.relative_to(ROOT).with_suffix("").parts for path in (ROOT / "photon_gpu").rglob("*.py")]
    files += [
        ("photon_gpu", *path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "kernels").rglob("*.py")
    ]
    names = {".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in files}
    return sorted(name for name in names if not name.startswith(SKIPPED))


@pytest.mark.parametrize("name", modules())
def test_examples_run(name):
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    for test in finder.find(module, name):
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


def test_there_are_examples():
    texts = [
        test
        for name in modules()
        for test in doctest.DocTestFinder().find(importlib.import_module(name), name)
    ]
    assert sum(bool(test.examples) for test in texts) >= 15
