"""Estimate what a petabyte costs: ``python -m benchmarks.petabyte [--terabytes 1000] [--workers 100]``.

Speed per worker and ratio come from movies encoded over a dask cluster of as many workers as this machine has
cores; requests from two movies written to a real S3 server (SeaweedFS, on this machine) through a proxy that
counts them. From these, hours, requests and costs follow by the formulas printed beside them. About a minute.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import photon_gpu as pg
from benchmarks.memory import NOISE, Shifted
from benchmarks.support.arguments import parser_of
from benchmarks.support.interleaved_timing import machine
from benchmarks.support.results_csv import RESULTS, path_of, save
from photon_gpu.engine.runtime.pool import worker_count
from photon_gpu.tools.cost import load_prices

PUT_USD = 0.005 / 1000
GET_USD = 0.0004 / 1000
CORE_HOUR_USD = 0.04
"""Amazon's list price of S3 Standard and, roughly, of one core, us-east-1, 2024: put in your own."""
COLUMNS = ("date", "machine", "ratio", "megabytes_per_second", "per_chunk", "per_movie")
_PAID_AS_PUT = ("PUT", "POST", "LIST")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The measurements that the estimate is computed from."""

    ratio: float
    megabytes_per_second: float
    """Speed of one worker with one thread, while every core of the machine runs such a worker."""
    per_chunk: dict[str, float]
    per_movie: dict[str, float]
    machine: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Hours, requests and costs."""

    hours: float
    chunks: float
    movies: float
    puts: float
    gets: float
    compute_usd: float
    requests_usd: float
    month_raw_usd: float
    month_stored_usd: float


def estimate(
    measured: Measured,
    *,
    raw_bytes: float,
    movie_bytes: float,
    chunk_bytes: float,
    workers: int,
    core_hour_usd: float = CORE_HOUR_USD,
    put_usd: float = PUT_USD,
    get_usd: float = GET_USD,
) -> Estimate:
    """Compute hours, requests and costs.

    >>> m = Measured(ratio=5.0, megabytes_per_second=200.0, per_chunk={"PUT": 1, "GET": 2},
    ...              per_movie={"PUT": 6}, machine="")
    >>> e = estimate(m, raw_bytes=1e15, movie_bytes=1e10, chunk_bytes=5e7, workers=100)
    >>> round(e.hours, 1), e.puts, e.gets
    (13.9, 20600000.0, 40000000.0)
    """
    hours = raw_bytes / (workers * measured.megabytes_per_second * 1e6) / 3600
    chunks, movies = raw_bytes / chunk_bytes, raw_bytes / movie_bytes
    kinds = {*measured.per_chunk, *measured.per_movie}
    every = {k: chunks * measured.per_chunk.get(k, 0) + movies * measured.per_movie.get(k, 0) for k in kinds}
    puts = sum(count for request, count in every.items() if request in _PAID_AS_PUT)
    gets = sum(count for request, count in every.items() if request in ("GET", "HEAD"))
    month = load_prices()["STANDARD"]["price"] * raw_bytes / 2**30
    return Estimate(
        hours=hours,
        chunks=chunks,
        movies=movies,
        puts=puts,
        gets=gets,
        compute_usd=hours * workers * core_hour_usd,
        requests_usd=puts * put_usd + gets * get_usd,
        month_raw_usd=month,
        month_stored_usd=month / measured.ratio,
    )


def requests(client, sizes: tuple[int, int] = (4, 16)) -> tuple[dict[str, float], dict[str, float]]:
    """Count the requests per chunk and per movie, by kind, with two movies of ``sizes`` chunks."""
    from tests.support import servers

    counts: list[Counter[str]] = []
    with tempfile.TemporaryDirectory() as folder, servers.seaweed(Path(folder)) as endpoint:
        proxy = servers.FaultyS3(endpoint)
        try:
            options = {"key": "AK", "secret": "SK", "endpoint_url": f"http://{proxy.endpoint}"}
            for chunks in (1, *sizes):  # the first pays for what is done once per process
                proxy.seen.clear()
                pg.encode_many(
                    [Shifted(10 * chunks, 64)],
                    [f"s3://imaging/petabyte/{chunks}.zarr"],
                    client=client,
                    noise=NOISE,
                    layout="compact",
                    preset="fast",
                    chunk_frames=10,
                    storage_options=options,
                    check=False,
                    trust_noise=True,
                )
                counts.append(Counter(request_class(line) for line in proxy.seen))
        finally:
            proxy.close()
    few, many = counts[1:]
    kinds = sorted({*few, *many})
    chunk = {k: (many[k] - few[k]) / (sizes[1] - sizes[0]) for k in kinds}
    movie = {k: few[k] - chunk[k] * sizes[0] for k in kinds}
    return {k: v for k, v in chunk.items() if v}, {k: v for k, v in movie.items() if v}


def request_class(line: str) -> str:
    """Return the kind of request that the provider charges for.

    >>> request_class("GET /imaging?list-type=2&prefix=a"), request_class("GET /imaging/a/0.0.0")
    ('LIST', 'GET')
    """
    method, path = line.split(" ", 1)
    return "LIST" if method == "GET" and "list-type" in path else method


def measure(repeats: int = 3, movies: int = 4, frames: int = 400, size: int = 512) -> Measured:
    """Measure all of it on this machine."""
    from distributed import Client, LocalCluster

    workers = worker_count(None)
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        best = None
        for _ in range(repeats + 1):  # the first compiles
            sources = [Shifted(frames, size, seed) for seed in range(movies)]
            urls = [Path(folder) / f"{n}.zarr" for n in range(movies)]
            report = pg.encode_many(
                sources,
                urls,
                client=client,
                noise=NOISE,
                layout="compact",
                preset="fast",
                overwrite=True,
                check=False,
                trust_noise=True,
            )
            best = report if best is None or report.seconds < best.seconds else best
        chunk, movie = requests(client)
    return Measured(
        ratio=best.ratio,
        megabytes_per_second=best.megabytes_per_second / workers,
        per_chunk=chunk,
        per_movie=movie,
        machine=machine(),
    )


def told(measured: Measured, estimated: Estimate, terabytes: float, workers: int) -> str:
    """As Markdown."""
    each = ", ".join(f"{v:.3g} {k}" for k, v in measured.per_chunk.items())
    once = ", ".join(f"{v:.3g} {k}" for k, v in measured.per_movie.items())
    return "\n".join(
        [
            f"Measured on {measured.machine}, one worker of one thread per core: "
            f"**{measured.megabytes_per_second:,.0f} MB/s per worker** at ratio {measured.ratio:.2f} "
            f"(compact, fast, "
            f"step 0.5, even field of two-photon noise, local disk). "
            f"Requests to S3 per chunk: {each}; per movie besides: {once}.",
            "",
            f"| {terabytes:,.0f} TB over {workers:,} workers | by | comes to |",
            "|---|---|---|",
            f"| hours | raw bytes / (workers x MB/s) | {estimated.hours:,.1f} |",
            "| chunks, movies | raw bytes / bytes of each | "
            f"{estimated.chunks:,.0f}, {estimated.movies:,.0f} |",
            f"| writing and listing requests | chunks x {{per chunk}} + movies x {{per movie}} | "
            f"{estimated.puts:,.0f} |",
            f"| reading requests | likewise | {estimated.gets:,.0f} |",
            f"| requests, USD | at {1000 * PUT_USD:g} and {1000 * GET_USD:g} per 1000 | "
            f"{estimated.requests_usd:,.0f} |",
            f"| computing, USD | workers x hours x {CORE_HOUR_USD:g} per core and hour | "
            f"{estimated.compute_usd:,.0f} |",
            f"| keeping it raw, USD a month | S3 Standard | {estimated.month_raw_usd:,.0f} |",
            f"| keeping it stored, USD a month | the same / ratio | {estimated.month_stored_usd:,.0f} |",
        ]
    )


def page(
    measured: Measured,
    terabytes: float = 1000.0,
    workers: int = 100,
    movie_gigabytes: float = 10.0,
    chunk_megabytes: float = 52.4288,
) -> str:
    """The estimate, as Markdown."""
    estimated = estimate(
        measured,
        raw_bytes=terabytes * 1e12,
        movie_bytes=movie_gigabytes * 1e9,
        chunk_bytes=chunk_megabytes * 1e6,
        workers=workers,
    )
    return told(measured, estimated, terabytes, workers)


def main(arguments: list[str] | None = None) -> Path:
    parser = parser_of(__doc__)
    parser.add_argument("--terabytes", type=float, default=1000.0)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--movie-gigabytes", type=float, default=10.0)
    parser.add_argument(
        "--chunk-megabytes", type=float, default=52.4288, help="100 frames of 512 x 512 uint16"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--mb-s",
        type=float,
        help="speed per worker, measured otherwise (benchmarks.workers)",
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    measured = measure(0 if options.mb_s else options.repeats)
    if options.mb_s:
        measured = replace(measured, megabytes_per_second=options.mb_s)
    target = path_of("petabyte", options.results)
    row = {
        **asdict(measured),
        "per_chunk": json.dumps(measured.per_chunk),
        "per_movie": json.dumps(measured.per_movie),
    }
    save(target, COLUMNS, [row], "machine")
    print(
        page(measured, options.terabytes, options.workers, options.movie_gigabytes, options.chunk_megabytes)
    )
    print(target)
    return target


def measured_in(row: dict[str, str]) -> Measured:
    """Text of a row of the CSV."""
    return Measured(
        ratio=float(row["ratio"]),
        megabytes_per_second=float(row["megabytes_per_second"]),
        per_chunk=json.loads(row["per_chunk"]),
        per_movie=json.loads(row["per_movie"]),
        machine=row["machine"],
    )


if __name__ == "__main__":
    main()
