"""What a test run is told at its start, and what it says at its end."""

from __future__ import annotations

import pytest

STAND_IN = ("tests/engine/gpu/test_coder.py", "tests/kernels/test_cuda", "tests/kernels/cuda/")

# Real servers and databases, killed processes, exhaustive damage, sanitizers, statistics of many movies.
SLOW = (
    "tests/benchmarks/",
    "tests/check/fidelity/",
    "tests/cli/commands/test_demo.py",
    "tests/cli/commands/test_recording.py",
    "tests/cluster/",
    "tests/dj/",
    "tests/docs/",
    "tests/engine/gpu/",
    "tests/engine/runtime/test_scratch.py",
    "tests/estimate/",
    "tests/faults/",
    "tests/kernels/cuda/",
    "tests/kernels/test_cuda",
    "tests/live/",
    "tests/test_doctests.py",
    "tests/test_files_written.py",
    "tests/test_indexing.py",
    "tests/tools/",
)


def pytest_report_header() -> str:
    """Say what runs, and about how long it takes."""
    return (
        "photon_gpu: pytest runs every test on all cores, half an hour on two of them; "
        'pytest -m "not slow" is the quick check, a few minutes'
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that the quick check leaves out."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tests of the CUDA path that passed without a GPU must not be taken for more than they are."""
    passed = terminalreporter.stats.get("passed", [])
    count = sum(report.nodeid.startswith(STAND_IN) for report in passed)
    if count:
        from tests.support.cupy_standin import NOTICE

        terminalreporter.write_line(f"{count} tests of the CUDA path passed. {NOTICE}")
