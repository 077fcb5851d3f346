"""What a test run is told at its start, and what it says at its end."""

from __future__ import annotations

import pytest

from tests.support import hostile_input_counts, short_errors

STAND_IN = (
    "tests/engine/gpu/test_coder.py",
    "tests/engine/gpu/test_huffman_frames.py",
    "tests/kernels/test_cuda",
    "tests/kernels/cuda/",
    "tests/kernels/zstd_huffman/test_cuda.py",
)

# Real servers and databases, killed processes, exhaustive damage, sanitizers, statistics of many movies.
SLOW = (
    "tests/benchmarks/",
    "tests/check/fidelity/",
    "tests/check/integrity/test_repair.py::test_older_chunks_do_not_prove_their_places",
    "tests/check/integrity/test_verify.py::test_a_flipped_byte_of_packed_and_sorted_residuals_is_found",
    "tests/check/integrity/test_verify.py::test_any_single_byte_flipped_is_found",
    "tests/cli/commands/movies/test_encode.py::test_resume_goes_on_where_an_encode_was_killed",
    "tests/cli/commands/machine/test_demo.py",
    "tests/cli/commands/recording/test_recording.py",
    "tests/cli/test_secrets.py",
    "tests/cluster/",
    "tests/decoder/test_photon_decode.py::test_reads_any_model",
    "tests/dj/",
    "tests/docs/",
    "tests/engine/codec/test_partial_decode.py",
    "tests/engine/gpu/",
    "tests/engine/layouts/test_plain_decode.py::test_compiled_calls_decode_like_the_reference",
    "tests/engine/runtime/test_pool.py::test_interrupted_while_it_is_submitted",
    "tests/engine/runtime/test_scratch.py",
    "tests/estimate/",
    "tests/faults/",
    "tests/kernels/cuda/",
    "tests/kernels/test_cuda",
    "tests/kernels/zstd_huffman/test_cuda.py",
    "tests/kernels/zstd_huffman/test_frames.py::test_every_zstd_opens_the_frames",
    "tests/libphoton/test_viewer.py",
    "tests/live/",
    "tests/plugins/test_numcodecs_photon.py::test_a_filter_in_anyones_zarr_v2_array",
    "tests/reader/test_export.py::test_memory_does_not_grow_with_the_movie",
    "tests/sources/tiff/test_reader.py::test_cut_anywhere_it_raises_or_is_exactly_right",
    "tests/store/test_overwrite.py::test_a_kill_at_any_step",
    "tests/store/test_windows.py",
    "tests/test_doctests.py",
    "tests/test_files_written.py",
    "tests/test_indexing.py",
    "tests/tools/",
    "tests/writer/test_channels.py",
    "tests/writer/test_compression_tuning.py::test_never_larger_than_the_best_of_what_was_tried",
    "tests/writer/test_encode.py::test_memory_does_not_grow_with_the_movie",
    "tests/writer/test_warmup.py::test_an_encode_compiles_nothing_after_it",
)


short_errors.watch()


@pytest.fixture(autouse=True)
def errors_are_short():
    """Fail a test that made an error of more than 300 characters (tests/support/short_errors.py)."""
    short_errors.TOO_LONG.clear()
    yield
    assert not short_errors.TOO_LONG, "an error has more than 300 characters"


def pytest_report_header() -> str:
    """Say what runs, and about how long it takes."""
    return (
        "photon_gpu: pytest runs every test on all cores, 20 to 30 minutes on two of them; "
        'pytest -m "not slow" is the quick check, at most 5 minutes'
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that the quick check leaves out."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the counts of a worker to the process that prints them."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["fuzz"] = [
            dict(hostile_input_counts.TRIED),
            dict(hostile_input_counts.SURVIVED),
        ]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    """Add the counts of a worker that has ended."""
    tried, survived = getattr(node, "workeroutput", {}).get("fuzz", ({}, {}))
    for name, number in tried.items():
        hostile_input_counts.count(name, number, survived.get(name, 0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tests of the CUDA path that passed without a GPU must not be taken for more than they are."""
    for line in hostile_input_counts.lines():
        terminalreporter.write_line(line)
    passed = terminalreporter.stats.get("passed", [])
    count = sum(report.nodeid.startswith(STAND_IN) for report in passed)
    if count:
        from tests.support.cuda.cupy_standin import NOTICE

        terminalreporter.write_line(f"{count} tests of the CUDA path passed. {NOTICE}")
