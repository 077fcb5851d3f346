"""The comparison of one process with two: what is run, and the ratio."""

from __future__ import annotations

import pytest

from benchmarks import threads_or_processes


class Lanes:
    """Stands for processes: notes the jobs, and takes a time that the test sets."""

    clock, jobs = 0.0, []

    def __init__(self, count: int) -> None:
        self.count = count

    def run(self, function, jobs):
        Lanes.jobs.append((self.count, [(threads, layout) for _, _, layout, threads in jobs]))
        Lanes.clock += {1: 4.0, 2: 3.0}[self.count]
        return [1.0 for _ in jobs]

    def close(self) -> None:
        pass


def test_both_ways_encode_two_movies_with_two_threads_in_all(monkeypatch, capsys):
    monkeypatch.setattr(threads_or_processes, "Bare", Lanes)
    monkeypatch.setattr(threads_or_processes.time, "perf_counter", lambda: Lanes.clock)
    figures = threads_or_processes.main(
        ["--rounds", "1", "--frames", "2", "--size", "8", "--layouts", "compact"]
    )["compact"]
    ways = [(1, [(2, "compact")] * 2), (2, [(1, "compact")] * 2)]
    assert Lanes.jobs == 2 * ways
    assert figures["ratio"] == pytest.approx(0.75)
    assert figures["processor"] == {"one process": 2.0, "two processes": 2.0}
    assert "one process writes 0.75 of what two write" in capsys.readouterr().out
