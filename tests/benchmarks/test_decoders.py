"""The command that compares the decoders checks their values and writes a page."""

from __future__ import annotations

import shutil

import pytest

from benchmarks import decoders


def test_it_compares_the_values_and_writes_a_page(tmp_path, monkeypatch):
    if shutil.which("gcc") is None:
        pytest.skip("libphoton is built by gcc")
    monkeypatch.setattr(decoders.shutil, "which", lambda name: None)  # WebAssembly takes a minute to build
    page = decoders.main(["--frames", "4", "--size", "24", "--rounds", "1", "--out", str(tmp_path)])
    text = page.read_text()
    for name in (decoders.NUMBA, decoders.C, decoders.PYTHON):
        assert text.count(f"| {name} |") == 3
    assert f"| fast | {decoders.NUMBA} |" in text and "| 1.00 |" in text
