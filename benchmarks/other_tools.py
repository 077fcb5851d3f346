"""Measure what other tools cost: ``python -m benchmarks.other_tools``.

- Writing: the same movie of 512 x 512 as a folder and as OME-Zarr, on this disk, in turns.
- The first value: one pixel by ``pg.open`` and by ``xarray.open_dataset``, each opened anew, in turns.
- Requests: a random frame of a movie on a real S3 server (SeaweedFS, on this machine), counted by a proxy:
  for ``pg.open``, for the first frame, and the most that any further frame took.

benchmarks.torch_loader measures the DataLoader of torch.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import photon_gpu as pg
from benchmarks.memory import NOISE, Shifted
from benchmarks.support.arguments import parser_of
from benchmarks.support.interleaved_timing import Others, Timing, interleaved, machine

SUFFIXES = {"folder": ".zarr", "OME-Zarr": ".ome.zarr"}


def encode(movie: Any, url: str, preset: str, **options: Any) -> None:
    pg.encode(
        movie,
        url,
        noise=NOISE,
        layout="compact",
        preset=preset,
        check=False,
        trust_noise=True,
        overwrite=True,
        **options,
    )


def writing(movie: Any, folder: Path, preset: str, rounds: int) -> dict[str, Timing]:
    """Seconds of an encode into each container."""

    def write(name: str, suffix: str) -> Callable[[], None]:
        target = folder / f"{name}{suffix}"

        def action() -> None:
            shutil.rmtree(target, ignore_errors=True)
            encode(movie, str(target), preset)

        return action

    return interleaved({name: write(name, suffix) for name, suffix in SUFFIXES.items()}, rounds)


def first_value(url: str, rounds: int) -> dict[str, Timing]:
    """Seconds from an address to the first pixel."""
    import xarray

    def by_xarray() -> int:
        with xarray.open_dataset(url, engine="photon_gpu") as dataset:
            return int(dataset.counts[7, 0, 0].values)

    def by_photon_gpu() -> int:
        with pg.open(url) as movie:
            return int(movie.counts[7, 0, 0])

    assert by_xarray() == by_photon_gpu()
    return interleaved({"pg.open": by_photon_gpu, "xarray.open_dataset": by_xarray}, rounds)


def requests(movie: Any, preset: str, reads: int) -> dict[str, tuple[int, int, int]]:
    """Requests of ``pg.open``, of the first frame, and the most of a further frame, by container."""
    from tests.support import servers

    counts = {}
    with tempfile.TemporaryDirectory() as folder, servers.seaweed(Path(folder)) as endpoint:
        proxy = servers.FaultyS3(endpoint)
        options = {"key": "AK", "secret": "SK", "endpoint_url": f"http://{proxy.endpoint}"}
        try:
            for name, suffix in SUFFIXES.items():
                url = f"s3://imaging/movie{suffix}"
                encode(movie, url, preset, storage_options=options)
                proxy.seen.clear()
                with pg.open(url, storage_options=options) as stored:
                    seen = [len(proxy.seen)]
                    for number in np.random.default_rng(1).integers(0, len(stored), reads):
                        stored.counts[number]
                        seen.append(len(proxy.seen))
                opened, first, *further = np.diff([0, *seen]).tolist()
                counts[name] = opened, first, max(further)
        finally:
            proxy.close()
    return counts


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Print all of it; return the two ratios."""
    parser = parser_of(__doc__)
    parser.add_argument("--frames", type=int, default=1000, help="of the movie")
    parser.add_argument("--size", type=int, default=512, help="rows and columns of a frame")
    parser.add_argument("--preset", default="fast", choices=("fast", "balanced", "small"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--reads", type=int, default=20, help="frames from S3")
    options = parser.parse_args(arguments)
    movie, others, ratios = Shifted(options.frames, options.size), Others(), {}
    print(f"{machine()}; {movie.nbytes / 1e6:,.0f} MB, preset {options.preset}")
    with tempfile.TemporaryDirectory() as folder:
        written = writing(movie, Path(folder), options.preset, options.rounds)
        for name, timing in written.items():
            print(f"writing, {name}: {timing.rate(movie.nbytes)} MB/s")
        ratios["OME-Zarr / folder"] = _ratio(written["OME-Zarr"], written["folder"])
        opened = first_value(str(Path(folder) / "folder.zarr"), 3 * options.rounds)
    for name, timing in opened.items():
        low, high = 1e3 * min(timing.seconds), 1e3 * max(timing.seconds)
        print(f"first value, {name}: {1e3 * timing.median:.1f} ms ({low:.1f} to {high:.1f})")
    ratios["xarray / pg.open"] = _ratio(opened["xarray.open_dataset"], opened["pg.open"])
    for name, ratio in ratios.items():
        print(f"time, {name}: {ratio:.2f}")
    for name, (opening, first, further) in requests(movie, options.preset, options.reads).items():
        print(f"S3 requests, {name}: {opening} to open, {first} for the first frame, then at most {further}")
    busy = others.percent()
    if busy is not None:
        print(f"other programs used {busy:.0f} % of all cores")
    return ratios


def _ratio(one: Timing, other: Timing) -> float:
    """Median of the ratios of each round."""
    return Timing(tuple(a / b for a, b in zip(one.seconds, other.seconds, strict=True))).median


if __name__ == "__main__":
    main()
