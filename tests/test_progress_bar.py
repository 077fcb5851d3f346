"""The bar says what is done, the time elapsed, and the time left once that can be told."""

import io
import re

from rich.console import Console

from photon_gpu.progress_bar import ProgressBar


def shown(console):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def test_elapsed_and_left_are_told_apart():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    clock = [0.0]
    console.get_time = lambda: clock[0]
    with ProgressBar("encoding", None, console) as bar:
        bar.stage("estimating the noise")
        clock[0] = 40.0
        bar._bar.refresh()
        before = shown(console)
        assert "estimating the noise" in before and "elapsed 0:00:40" in before and "left" not in before
        bar(0, 100)
        for done in (10, 20):
            clock[0] += 10.0
            bar(done, 100)
        console.file.truncate(0)
        bar._bar.refresh()
        assert "encoding" in shown(console) and "elapsed 0:00:20 left 0:01:20" in shown(console)
        clock[0] += 15.0  # nothing comes: what is left may not grow
        console.file.truncate(0)
        bar._bar.refresh()
        assert "elapsed 0:00:35 left 0:01:20" in shown(console)
    assert bar._bar is None


def test_the_last_count_ends_the_bar():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    bar = ProgressBar("encoding", 2, console)
    bar(1, 2)
    assert bar._bar is not None
    bar(2, 2)
    assert bar._bar is None
