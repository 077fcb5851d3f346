"""What is said of the lines of a check."""

from __future__ import annotations

from types import SimpleNamespace

from photon_gpu.check.warn_failed_checks import tally


def test_a_tally_counts_every_status_and_leaves_out_what_there_is_none_of():
    lines = [SimpleNamespace(status=status) for status in ("PASS", "SKIP", "PASS", "WARN")]
    assert tally(lines) == "2 PASS, 1 WARN, 1 SKIP"
    assert tally([]) == ""
