"""Compare ``<photon@>`` inserts with bare ``encode``, and count the S3 requests of a fetch.

Run as ``python -m benchmarks.datajoint_insert_fetch [--frames N] [--repeats N]``. The database is embedded
PostgreSQL, the store a local folder, and S3 is moto on this machine. Runs alternate, because timings on
shared machines vary by tens of percent.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.support.cases import NOISE
from benchmarks.support.interleaved_timing import interleaved, machine
from tests.support import servers

DEFINITION = "recording_id : int32\n---\nmovie : <photon@imaging>"


def insert_against_encode(dj, schema, folder: Path, movie: np.ndarray, repeats: int) -> dict:
    import photon_gpu as pg
    import photon_gpu.dj

    store = folder / "store"
    store.mkdir()
    photon_gpu.dj.stores({"imaging": {"protocol": "file", "location": str(store)}})
    table = schema(type("Recording", (dj.Manual,), {"definition": DEFINITION}), context={})
    keys = itertools.count()

    def encode() -> None:
        shutil.rmtree(folder / "bare.zarr", ignore_errors=True)
        pg.encode(movie, folder / "bare.zarr", noise=pg.NoiseModel(), trust_noise=True)

    def insert() -> None:
        shutil.rmtree(store, ignore_errors=True)
        store.mkdir()
        table.insert1({"recording_id": next(keys), "movie": movie})

    times = interleaved({"encode": encode, "insert": insert}, repeats)
    return {
        "movie": f"{' x '.join(map(str, movie.shape))} {movie.dtype}",
        "machine": machine(),
        "encode_megabytes_per_second": times["encode"].rate(movie.nbytes),
        "insert_megabytes_per_second": times["insert"].rate(movie.nbytes),
        "insert_over_encode_median": round(times["insert"].median / times["encode"].median, 3),
        "insert_over_encode_fastest": round(min(times["insert"].seconds) / min(times["encode"].seconds), 3),
    }


def requests_of_a_fetch(dj, schema, folder: Path, movie: np.ndarray) -> dict:
    import photon_gpu.dj

    with servers.moto(folder) as upstream:
        proxy = servers.FaultyS3(upstream)
        spec = {
            "protocol": "s3",
            "endpoint": proxy.endpoint,
            "bucket": "imaging",
            "location": "bench",
            "access_key": "AK",
            "secret_key": "SK",
            "secure": False,
        }
        photon_gpu.dj.stores({"remote": spec})
        definition = DEFINITION.replace("@imaging", "@remote")
        table = schema(type("Remote", (dj.Manual,), {"definition": definition}), context={})
        start = proxy.count
        table.insert1({"recording_id": 1, "movie": movie})
        insert = proxy.count - start
        start = proxy.count
        fetched = table.fetch1("movie")
        fetch = proxy.count - start
        fetched[len(movie) // 2]
        seen = proxy.seen[start:]
        chunk = next(i for i, line in enumerate(seen) if line.endswith(".0.0"))
        proxy.close()
    chunks = -(-len(movie) // 100)
    return {
        "insert_requests": insert,
        "insert_chunks": chunks,
        "fetch1_requests": fetch,
        "requests_before_first_chunk": chunk,
        "requests_for_first_frame": len(seen),
    }


def savings_of(dj, schema, folder: Path, path: Path) -> dict:
    """The corpus's two-photon movie, with its own noise model, in both layouts."""
    import photon_gpu as pg
    import photon_gpu.dj

    (folder / "corpus").mkdir()
    photon_gpu.dj.stores({"corpus": {"protocol": "file", "location": str(folder / "corpus")}})
    out = {}
    for layout, codec in (("plain", "photon"), ("compact", "photon_compact")):
        definition = f"recording_id : int32\n---\nmovie : <{codec}@corpus>"
        table = schema(type(layout.title(), (dj.Manual,), {"definition": definition}), context={})
        table.insert1({"recording_id": 1, "movie": pg.movie(path, noise=NOISE[path.name])})
        movie = table.fetch1("movie")
        out[layout] = round(1 - movie.stored_bytes / movie.nbytes, 4)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--corpus", type=Path, default=os.environ.get("PHOTON_GPU_CORPUS"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with servers.postgres(folder) as environment:
            os.environ.update(environment)
            import datajoint as dj

            dj.config["safemode"] = False
            schema = dj.Schema("bench")
            movie = np.random.default_rng(0).poisson(30.0, (chosen.frames, 512, 512)).astype("uint16")
            seconds = insert_against_encode(dj, schema, folder, movie, chosen.repeats)
            seconds |= requests_of_a_fetch(dj, schema, folder, movie[:250, :64, :64])
            if chosen.corpus:
                seconds["savings"] = savings_of(dj, schema, folder, Path(chosen.corpus) / "2p_cortex.tif")
    print(json.dumps(seconds, indent=4))


if __name__ == "__main__":
    main()
