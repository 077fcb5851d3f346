"""What the run as a whole says at its end."""

from __future__ import annotations

import pytest

STAND_IN = ("tests/engine/gpu/test_coder.py", "tests/kernels/test_cuda", "tests/kernels/cuda/")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tests of the CUDA path that passed without a GPU must not be taken for more than they are."""
    passed = terminalreporter.stats.get("passed", [])
    count = sum(report.nodeid.startswith(STAND_IN) for report in passed)
    if count:
        from tests.support.cupy_standin import NOTICE

        terminalreporter.write_line(f"{count} tests of the CUDA path passed. {NOTICE}")
