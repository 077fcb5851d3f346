"""Hostile inputs and kills for hours: ``python -m tests.faults.campaign --hours 1``.

Prints, for each class, how many were tried and survived. A failure prints its seed; ``--class NAME --seed N``
tries it again. Payloads are decoded by kernels that Numba compiled with bounds checks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import h5py
import numpy as np
import tifffile
import zarr

import photon_gpu as pg
from photon_gpu import cli
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec import chunk as coder
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.predictors import NAMES, Predictor
from photon_gpu.engine.codec.requested_part import ChunkPart
from photon_gpu.engine.model.clipping_levels import ClippingLevels
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import PhotonError, PhotonWarning
from photon_gpu.reader.export import export
from tests.support import hostile_input_counts
from tests.support.dj import kill_campaign
from tests.support.faults.interrupted_recordings import (
    NOISE,
    frames,
    in_child,
    record,
    recovered,
    settings,
    told_until_end,
)
from tests.support.stores.forged_payloads import sealed

COUNT, LAYOUTS = 6, ("plain", "compact", "lossless")
BATCHES = [3, 1, 4, 2, 6, 5, 7, 3]
PER_CHILD = 25
ALTERATIONS = 1000  # of one payload
BRIGHT = pg.NoiseModel(gain=20.0, offset=10.0, variance=30.0)
BOUNDS = {"NUMBA_BOUNDSCHECK": "1"}


def stored(folder, chance):
    with pg.LiveWriter(folder / "m.zarr", **settings(layout=chance.choice(LAYOUTS))) as live:
        live.append(frames(0, COUNT), timestamp=list(range(COUNT)))
    return folder / "m.zarr"


def altered(data, chance):
    """Bytes with a bit flipped, cut short, overwritten, or with some inserted."""
    data, at = bytearray(data), chance.randrange(max(len(data), 1))
    way = chance.randrange(4)
    if way == 0 and data:
        data[at] ^= 1 << chance.randrange(8)
    elif way == 1:
        del data[at:]
    elif way == 2:
        data[at : at + chance.randrange(1, 9)] = chance.randbytes(chance.randrange(1, 9))
    else:
        data[at:at] = chance.randbytes(chance.randrange(1, 40))
    return bytes(data)


def flips(folder, chance):
    """One bit of one file: verify names it, and no wrong frame is read."""
    movie = stored(folder, chance)
    path = chance.choice([path for path in sorted(movie.rglob("*")) if path.is_file()])
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    assert not pg.verify(movie).ok, f"{path.name} is altered, and verify says whole"
    for number in range(COUNT):
        try:
            decoded = pg.open(movie, workers=1).counts[number]
        except (PhotonError, PhotonWarning):
            continue
        assert np.array_equal(decoded, frames(number, number + 1)[0]), f"frame {number} is wrong"


def metadata(folder, chance):
    """Any value in any place of any metadata: an error, or a movie that verify calls damaged."""
    movie = stored(folder, chance)
    path = movie / chance.choice([".zarray", ".zattrs", ".manifest.json", ".frames/0.json"])
    if chance.random() < 0.5:
        path.write_bytes(altered(path.read_bytes(), chance))
    else:
        content = json.loads(path.read_bytes())
        values = [
            None,
            True,
            -1,
            0,
            1 << 70,
            1e308,
            float("nan"),
            "",
            "x",
            "../..",
            [],
            {},
            [1, "a"],
            [[-1] * 9],
        ]
        content[chance.choice(sorted(content))] = chance.choice(values)
        path.write_text(json.dumps(content))
    for read in (
        lambda: pg.verify(movie, deep=True),
        lambda: pg.open(movie, workers=1).counts[...],
        lambda: pg.open(movie, workers=1).timestamps,
        lambda: pg.repair(movie, frames(0, COUNT)),
    ):
        with contextlib.suppress(PhotonError, PhotonWarning):
            read()


def payloads(folder, chance):
    """A compact payload with altered bytes and right checksums of its header: an error, or values."""
    dtype = chance.choice(["uint8", "int16", "uint16", "int32"])
    shape = (chance.randint(1, 12), chance.randint(1, 40), chance.randint(1, 40))
    rng = np.random.default_rng(chance.randrange(1 << 30))
    values = np.minimum(rng.poisson(chance.choice([0.1, 2, 30]), shape), 120).astype(dtype)
    name = chance.choice(NAMES)
    levels = chance.choice([0, 2, 16]) if name in ("full", "spatial", "moving") else 0
    made = Predictor(name=name, levels=levels, coded=bool(levels) and chance.random() < 0.5)
    special: dict = {"noise": NOISE, "exact": chance.random() < 0.3}
    if chance.random() < 0.3:
        clipping = ClippingLevels(high=chance.choice([None, 100]))
        special = {"noise": BRIGHT, "peaks": chance.choice([0, 3]), "clipping": clipping}
    encoding = Encoding(layout="compact", dtype=dtype, predictor=made, **special)
    payload = coder.encode(values, shape, encoding, get_backend("numba"), stages=Stages())
    for _ in range(ALTERATIONS):
        data = np.frombuffer(altered(payload.tobytes(), chance), np.uint8).copy()
        data = sealed(data) if data.size > 200 and chance.random() < 0.7 else data
        with contextlib.suppress(PhotonError):
            coder.decode(data, ChunkPart(shape), encoding, get_backend("numba"), what=np.dtype(dtype))


def sources(folder, chance):
    """A file of each type, altered: an error, or frames of the promised shape."""
    counts = frames(0, COUNT)
    suffix = chance.choice(["npy", "npz", "tif", "h5", "zarr"])
    path = folder / f"raw.{suffix}"
    if suffix == "npy":
        np.save(path, counts)
    elif suffix == "npz":
        np.savez_compressed(path, movie=counts)
    elif suffix == "tif":
        tifffile.imwrite(
            path, counts, photometric="minisblack", imagej=chance.random() < 0.3, metadata={"axes": "TYX"}
        )
    elif suffix == "h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("movie", data=counts, chunks=(2, 6, 7), compression="gzip")
    else:
        zarr.save_array(str(path), counts)
    files = [path] if path.is_file() else [one for one in sorted(path.rglob("*")) if one.is_file()]
    one = chance.choice(files)
    one.write_bytes(altered(one.read_bytes(), chance))
    with contextlib.suppress(PhotonError, PhotonWarning), pg.open_source(path) as source:
        assert source.read(0, source.shape[0]).shape == source.shape


# What is killed; each tells how far it is.
def _record(connection, folder, durability):
    record(f"{folder}/m.zarr", f"{folder}/spool", BATCHES, connection.send, durability=durability)


def _encode(connection, folder, overwrite):
    connection.send(0)
    pg.encode(
        frames(0, 31),
        f"{folder}/m.zarr",
        noise=NOISE,
        chunk_frames=4,
        workers=1,
        overwrite=overwrite,
        check=False,
    )


def _recover(connection, folder):
    connection.send(0)
    pg.recover(f"{folder}/spool", url=f"{folder}/m.zarr")


def _export(connection, folder):
    connection.send(0)
    export(pg.open(f"{folder}/m.zarr", workers=1), f"{folder}/out.npy", overwrite=True)


def killed(chance, target, *args):
    """Run in a child, kill it after a random time, and return the last count it told."""
    here, child = in_child(target, *args)
    if here.poll(30):
        time.sleep(chance.random() * chance.choice([0.01, 0.05, 0.2]))
    child.kill()
    return told_until_end(here, child)


def kill_live(folder, chance):
    """Every acknowledged frame comes back, once."""
    count = killed(chance, _record, str(folder), chance.choice(["frame", "chunk"]))
    recovered(str(folder / "m.zarr"), str(folder / "spool"), count, sum(BATCHES))


def kill_recover(folder, chance):
    """A recovery that was killed is done by the next."""
    count = killed(chance, _record, str(folder), "frame")
    if not list((folder / "spool").glob("*/recording.json*")):
        return
    killed(chance, _recover, str(folder))
    recovered(str(folder / "m.zarr"), str(folder / "spool"), count, sum(BATCHES))


def kill_encode(folder, chance):
    """What opens is whole, and resuming completes the rest."""
    killed(chance, _encode, str(folder), False)
    options = {"noise": NOISE, "chunk_frames": 4, "workers": 1, "check": False}
    if not (folder / "m.zarr" / ".zarray").exists():
        pg.encode(frames(0, 31), folder / "m.zarr", resume=(folder / "m.zarr").exists(), **options)
    assert np.array_equal(pg.open(folder / "m.zarr", workers=1).counts[...], frames(0, 31))


def kill_overwrite(folder, chance):
    """The old movie or the new is at the name, or recover puts one there."""
    old = frames(50, 60)
    pg.encode(old, folder / "m.zarr", noise=NOISE, workers=1, check=False)
    killed(chance, _encode, str(folder), True)
    pg.recover(folder / "m.zarr")
    decoded = pg.open(folder / "m.zarr", workers=1).counts[...]
    assert np.array_equal(decoded, old) or np.array_equal(decoded, frames(0, 31)), decoded.shape


def kill_export(folder, chance):
    """The old file or the new one, whole."""
    pg.encode(frames(0, 31), folder / "m.zarr", noise=NOISE, workers=1, check=False)
    np.save(folder / "out.npy", np.arange(3))
    killed(chance, _export, str(folder))
    exported = np.load(folder / "out.npy")
    assert np.array_equal(exported, np.arange(3)) or np.array_equal(exported, frames(0, 31))


def _command(connection, words, stderr):
    """Run a command as its own process would."""
    descriptor = os.open(stderr, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stderr, sys.stdout = os.fdopen(2, "w", closefd=False), os.fdopen(1, "w", closefd=False)
    sys.argv = ["photon-gpu", *words]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the command handles it
    connection.send(0)
    cli.main()


def interrupted(folder, chance, *words, begun=None):
    """Run a command and interrupt it at a random moment; it ends in words. Returns whether it was stopped.

    The moment comes after there is something at the path ``begun``, if one is given.
    """
    stderr = folder / "stderr"
    stderr.unlink(missing_ok=True)
    here, child = in_child(_command, list(words), str(stderr))
    assert here.poll(60)
    while begun is not None and not begun.exists() and child.is_alive():
        time.sleep(0.001)
    time.sleep(chance.random() * chance.choice([0.02, 0.1, 0.5]))
    with contextlib.suppress(ProcessLookupError):  # it ended before
        os.kill(child.pid, signal.SIGINT)
    child.join(60)
    told, code = stderr.read_text(), child.exitcode
    assert code is not None, f"{words}: hangs"
    errors = [line for line in told.splitlines() if not line.startswith("warning: ")]
    assert code in (0, 130, -signal.SIGINT), f"{words}: exit {code}: {told}"
    stopped = [line.partition("; ")[0] for line in errors] == ["error: stopped before it was done"]
    assert code != 130 or stopped, f"{words}: {told!r}"
    assert code == 130 or not errors, told
    return code != 0


def interrupts(folder, chance):
    """An interrupted command loses nothing, and its next run completes it."""
    raw, movie, out = folder / "raw.npy", str(folder / "m.zarr"), folder / "out.npy"
    np.save(raw, frames(0, 31))
    options = ["--gain", "1", "--trust-noise", "--chunk-frames", "2", "--check", "off"]
    encode, new = ["encode", str(raw), movie, *options], np.array_equal
    decode, spool = ["decode", movie, str(out), "--overwrite"], str(folder / "spool")
    if interrupted(folder, chance, *encode, "--resume") and not Path(movie, ".zarray").exists():
        pg.encode(raw, movie, noise=NOISE, chunk_frames=2, check=False, resume=True)
    before = pg.open(movie, workers=1).counts[...]
    assert before.shape == frames(0, 31).shape
    np.save(out, np.arange(3))
    interrupted(folder, chance, *decode)
    counts = np.load(out)
    assert new(counts, np.arange(3)) or new(counts, before)
    np.save(raw, frames(50, 60))
    interrupted(folder, chance, *encode, "--overwrite")
    assert len(pg.open(movie, workers=1)) in (31, 10)
    shutil.rmtree(movie)
    count = killed(chance, _record, str(folder), "frame")
    if list(Path(spool).glob("*/recording.json*")):
        interrupted(folder, chance, "recover", spool)
        recovered(movie, spool, count, sum(BATCHES))
    growing, url, spool = folder / "camera.raw", str(folder / "r.zarr"), str(folder / "r.spool")
    growing.write_bytes(frames(0, 31).tobytes())  # the recording waits for more
    record_it = ["record", str(growing), url, "--shape", "6,7", "--durability", "frame", "--spool", spool]
    interrupted(folder, chance, *record_it, *options, begun=Path(spool))
    if list(Path(spool).glob("*/recording.json*")):
        pg.recover(spool)
    if Path(url).exists():
        counts = pg.open(url, workers=1).counts[...]
        assert new(counts, frames(0, len(counts)))
    # A killed recording leaves partial files, which no manifest lists; an interrupted one does not.
    assert not [path for path in folder.rglob(".partial-*") if Path(movie) not in path.parents]


INPUTS = {"flips": flips, "metadata": metadata, "sources": sources, "payloads": payloads}
KILLS = {
    "kills of live": kill_live,
    "kills of recover": kill_recover,
    "kills of encode": kill_encode,
    "kills of overwrite": kill_overwrite,
    "kills of export": kill_export,
    "interrupts": interrupts,
}
DATABASE_KILLS = {
    "kills of collect": kill_campaign.kill_collect,
    "kills of record into a table": kill_campaign.kill_record,
}
KILLS.update(DATABASE_KILLS)


def _try(connection, name, seeds):
    for seed in seeds:
        folder = Path(tempfile.mkdtemp(prefix="campaign-"))
        try:
            INPUTS[name](folder, random.Random(seed))
            why = ""
        except BaseException:
            why = traceback.format_exc()
        shutil.rmtree(folder, ignore_errors=True)
        connection.send((seed, why))


def inputs(name, seeds):
    """Try hostile inputs in a child that may crash or hang; yields each seed, and what happened to it."""
    here, child = in_child(_try, name, seeds)
    for seed in seeds:
        if not here.poll(900 if name == "payloads" or seed == seeds[0] else 120):  # kernels may be compiled
            child.kill()
            yield seed, "the process hangs"
            return
        try:
            yield here.recv()
        except EOFError:
            child.join()
            yield seed, f"the process ended with {child.exitcode}"
            return
    child.join()


def kill(name, seed):
    """What happened after a kill; empty if everything that was promised is there."""
    folder = Path(tempfile.mkdtemp(prefix="campaign-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    try:
        KILLS[name](folder, random.Random(seed))
    except Exception:
        return traceback.format_exc()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ""


def run(names, seconds, seed):
    """Try each class in turn until the time is over; returns the number of failures."""
    until, failed = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        for name in names:
            seeds = range(seed, seed + PER_CHILD)
            tries = inputs(name, seeds) if name in INPUTS else ((one, kill(name, one)) for one in seeds[:2])
            for one, why in tries:
                each = ALTERATIONS if name == "payloads" else 1
                hostile_input_counts.count(name, each, each * int(not why))
                if why:
                    failed += 1
                    print(f"{name}, seed {one}: {why}", file=sys.stderr, flush=True)
        seed += PER_CHILD
    return failed


def main():
    """Spend the time, an eighth of it on payloads; print the counts; 1 if anything was not survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--class", dest="name", choices=[*INPUTS, *KILLS], help="only this one")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    seconds = 3600 * options.hours
    names = [options.name] if options.name else [name for name in (*INPUTS, *KILLS) if name != "payloads"]
    bounds = 0
    if not options.name:
        with tempfile.TemporaryDirectory() as cache:  # other kernels than those of everyday use
            words = ["--class", "payloads", "--hours", str(options.hours / 8), "--seed", str(options.seed)]
            environment = {**os.environ, **BOUNDS, "NUMBA_CACHE_DIR": cache}
            command = [sys.executable, "-m", "tests.faults.campaign", *words]
            bounds = subprocess.run(command, env=environment).returncode
        seconds *= 7 / 8
    if lacking := kill_campaign.missing():
        names = [name for name in names if name not in DATABASE_KILLS]
        print(f"kills of collect and of record into a table: not tried, {lacking} missing", file=sys.stderr)
    try:
        failed = run(names, seconds, options.seed)
    finally:
        kill_campaign.stop()
    print("\n".join(hostile_input_counts.lines()), flush=True)
    return int(bool(failed or bounds))


if __name__ == "__main__":
    sys.exit(main())
