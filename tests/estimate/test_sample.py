import numpy as np
import pytest

from photon_gpu.estimate.sample import WINDOW_FRAMES, draw
from photon_gpu.sources.base import Source
from photon_gpu.sources.open import open_source


class Counted(Source):
    """A long movie that exists only where it is read."""

    def __init__(self, frames: int, height: int = 64, width: int = 64) -> None:
        self.name, self.shape, self.dtype = "counted", (frames, height, width), np.dtype("uint16")
        self.spans: list[tuple[int, int]] = []

    def read(self, start: int, stop: int) -> np.ndarray:
        self.spans.append((start, stop))
        t = np.arange(start, stop, dtype=np.uint16)
        return np.broadcast_to(t[:, None, None], (stop - start, *self.shape[1:]))


def test_a_movie_that_fits_is_taken_whole():
    frames = np.arange(50 * 8 * 8, dtype=np.uint16).reshape(50, 8, 8)
    windows = draw(open_source(frames), pairs="time", seed=0, budget_bytes=1 << 20)
    np.testing.assert_array_equal(np.concatenate([w.frames for w in windows]), frames)


def test_a_long_movie_is_sampled_within_the_budget_from_all_of_its_length():
    source = Counted(60_000)
    windows = draw(source, pairs="time", seed=1, budget_bytes=4 << 20)
    read = sum(stop - start for start, stop in source.spans)
    assert read * 64 * 64 * 2 <= 4 << 20
    assert sum(w.frames.nbytes for w in windows) <= 4 << 20
    starts = np.array([w.start for w in windows])
    assert len(starts) >= 30
    assert np.diff(starts).max() < 3 * 60_000 / len(starts)
    assert all(
        len(w.frames) == WINDOW_FRAMES and (w.frames[:, 0, 0] == w.start + np.arange(16)).all()
        for w in windows
    )


@pytest.mark.parametrize("frames", [129, 130, 143, 150, 177, 255, 300])
def test_no_frame_is_taken_twice(frames):
    # the budget holds 128 frames; a movie a little longer leaves the windows hardly any room
    ends = set()
    for seed in range(300):
        source = Counted(frames, height=16, width=16)
        windows = draw(source, pairs="time", seed=seed, budget_bytes=128 * 16 * 16 * 2)
        taken = np.concatenate([w.frames[:, 0, 0] for w in windows])
        assert len(taken) == 128
        assert len(np.unique(taken)) == len(taken)
        ends |= {int(taken[0]), int(taken[-1])}
    assert {0, frames - 1} <= ends


def test_the_seed_decides():
    chosen = [
        [w.start for w in draw(Counted(9000), pairs="time", seed=s, budget_bytes=1 << 20)] for s in (3, 3, 4)
    ]
    assert chosen[0] == chosen[1] != chosen[2]


def test_frames_larger_than_the_budget_are_cut_to_bands():
    source = Counted(400, height=1024, width=1024)
    windows = draw(source, pairs="time", seed=0, budget_bytes=8 << 20)
    assert sum(w.frames.nbytes for w in windows) <= 10 << 20
    assert {stop - start for start, stop in source.spans} <= {1, 2, 3, 4}  # 8 MiB hold four of them
    for window in windows:
        np.testing.assert_array_equal(window.frames[:, 0, 0], window.start + np.arange(len(window.frames)))
    assert {w.frames.shape[1] for w in windows} != {1024}
    assert len({w.row for w in windows}) > 1


def test_extra_axes_become_planes():
    frames = np.arange(20 * 3 * 4 * 5, dtype=np.int16).reshape(20, 3, 4, 5)
    windows = draw(open_source(frames), pairs="time", seed=0, budget_bytes=1 << 20)
    for window in windows:
        np.testing.assert_array_equal(window.frames, frames[:, window.plane])
    assert [w.plane for w in windows] == [0, 1, 2]


@pytest.mark.parametrize("height", [16, 40, 88])
def test_rows_become_time_where_space_is_compared(height):
    frames = np.random.default_rng(0).integers(0, 99, (5, height, 7)).astype(np.int16)
    windows = draw(open_source(frames), pairs="space", seed=0, budget_bytes=1 << 20)
    np.testing.assert_array_equal(np.concatenate([w.frames for w in windows]).transpose(1, 0, 2), frames)
