"""The command that compares a loader's workers with one process reads the same frames by every way."""

from __future__ import annotations

import pytest

from benchmarks import torch_loader


@pytest.mark.parametrize("torch", [False, True])
def test_every_way_reads_the_same_frames(monkeypatch, capsys, torch):
    if torch:
        pytest.importorskip("torch")
    else:
        monkeypatch.setattr(torch_loader, "torch", None)
    ratios = torch_loader.main(
        "--frames 6 --size 16 --reads 5 --batch 2 --rounds 1 --workers 1".split(),
    )
    assert "one process, one thread" in ratios and min(ratios.values()) > 0
    assert ("torch is not installed" in capsys.readouterr().out) is not torch
