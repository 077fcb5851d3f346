"""Kill and resume a long encode: ``python -m benchmarks.resume [--gigabytes 60] [--kills 3]``.

The finished movie is verified, and some of its frames are compared with the source.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.live import FRAME_BYTES, made
from benchmarks.support.arguments import parser_of
from benchmarks.support.interleaved_timing import machine
from benchmarks.support.recorder_adapters import CHUNK, NOISE, SHAPE, worst_error
from photon_gpu.sources.base import Source
from photon_gpu.store.durable import replacing

PROCESSES = multiprocessing.get_context("spawn")


class Repeated(Source):
    """A short movie again and again: any length, and no disk to read it from."""

    def __init__(self, movie: NDArray[np.int16], frames: int) -> None:
        self.name, self.shape, self.dtype, self._movie = "repeated", (frames, *SHAPE), movie.dtype, movie

    def read(self, start: int, stop: int) -> NDArray[np.int16]:
        # A number in the corner makes every frame its own.
        out = np.take(self._movie, range(start, stop), axis=0, mode="wrap")
        out[:, 0, 0] = np.arange(start, stop) % 30_000
        return out


def transcode(folder: str, frames: int) -> None:
    """One run, which may be killed."""
    pg.encode(
        Repeated(made(CHUNK), frames),
        folder,
        noise=NOISE,
        layout="compact",
        preset="fast",
        resume=True,
        check=False,
        trust_noise=True,
    )


def _inodes(folder: Path) -> dict[str, int]:
    """A chunk that is written again is another file."""
    return {path.name: path.stat().st_ino for path in folder.glob("*.0.0")}


def measure(gigabytes: float, kills: int, seed: int, where: str | None) -> dict[str, Any]:
    """Kill at random times, resume, and count the chunks that were done twice."""
    frames, chance = max(1, int(gigabytes * 1e9 / FRAME_BYTES)), random.Random(seed)
    folder = Path(tempfile.mkdtemp(dir=where, prefix="photon-bench-")) / "m.zarr"
    chunks, again, began, killed = -(-frames // CHUNK), 0, time.perf_counter(), 0
    try:
        for turn in range(kills + 1):
            before = _inodes(folder) if folder.exists() else {}
            child = PROCESSES.Process(target=transcode, args=(str(folder), frames))
            child.start()
            # Each kill falls into its own part of the movie, so that all of them meet an encode at work.
            until = int(chunks * (turn + chance.random()) / (kills + 1)) if turn < kills else None
            while child.is_alive():
                if until is not None and folder.exists() and len(_inodes(folder)) > until:
                    child.kill()
                    child.join()
                    killed += 1
                child.join(0.05)
            after = _inodes(folder)
            again += sum(after.get(name) != inode for name, inode in before.items())
            assert until is not None or child.exitcode == 0
        spent = time.perf_counter() - began
        assert pg.verify(folder).ok
        source, stored = Repeated(made(CHUNK), frames), pg.open(folder).counts
        numbers = sorted(chance.sample(range(frames), min(50, frames)))
        truth = np.stack([source.read(t, t + 1)[0] for t in numbers])
        worst = max(worst_error(stored[t : t + 1], truth[n : n + 1], [0]) for n, t in enumerate(numbers))
        assert worst < 0.5
    finally:
        shutil.rmtree(folder.parent)
    row = {
        "gigabytes": frames * FRAME_BYTES / 1e9,
        "frames": frames,
        "chunks": chunks,
        "kills": killed,
        "chunks_done_again": again,
        "seconds": spent,
        "worst_error_sigma": worst,
    }
    print(
        f"{row['gigabytes']:.1f} GB in {chunks:,} chunks, killed {killed} times: {again} chunks done again, "
        f"{spent:.0f} s in all; {machine()}; load {os.getloadavg()[0]:.1f}"
    )
    return row


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--gigabytes", type=float, default=60.0, help="of raw frames")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--where", help="folder on the disk to write to")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = measure(options.gigabytes, options.kills, options.seed, options.where)
    if options.json:
        with replacing(options.json) as file:
            file.write(json.dumps(result, indent=1).encode())


if __name__ == "__main__":
    main()
