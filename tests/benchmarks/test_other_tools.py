"""The command that compares containers and xarray measures all that it says."""

from __future__ import annotations

import pytest

from benchmarks import other_tools


def test_both_containers_and_xarray_are_measured(capsys):
    for name in ("xarray", "s3fs"):
        pytest.importorskip(name)
    ratios = other_tools.main("--frames 30 --size 32 --rounds 1 --reads 4".split())
    assert set(ratios) == {"OME-Zarr / folder", "xarray / pg.open"} and min(ratios.values()) > 0
    printed = capsys.readouterr().out
    for container in other_tools.SUFFIXES:
        (line,) = [line for line in printed.splitlines() if line.startswith(f"S3 requests, {container}:")]
        assert int(line.split(" to open")[0].split()[-1]) == 2
        assert int(line.split("for the first frame")[0].split()[-1]) <= 2
        assert int(line.rsplit(" ", 1)[1]) <= 1
