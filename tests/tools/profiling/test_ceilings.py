"""Ceilings of the machine."""

from __future__ import annotations

import pytest

from photon_gpu.tools.profiling.ceilings import ceilings, has_gpu


def test_every_ceiling_is_measured_and_nothing_is_left(tmp_path):
    result = ceilings(tmp_path, cores=2, seconds=0.02)
    assert {"memcpy, 1 core", "memcpy, all cores", "disk write"} <= set(result)
    assert ("device up" in result) == has_gpu()
    assert all(rate > 0 for rate in result.values())
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file.txt").write_text("a file is no folder")
    with pytest.raises(OSError):
        ceilings(tmp_path / "file.txt" / "below", cores=1, seconds=0.01)


@pytest.mark.gpu
def test_a_gpu_has_ceilings_of_its_own(tmp_path):
    if not has_gpu():
        pytest.skip("no CUDA device here")
    assert {"device up", "device down"} <= set(ceilings(tmp_path, cores=1, seconds=0.05))
