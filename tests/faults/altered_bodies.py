"""Alter the bodies of payloads in compiled code: ``python -m tests.faults.altered_bodies --seconds 600``.

Thousands of tries a second: no try makes a file, a process or an object of Python. Every body is what the
codec hands to its kernels, and it is altered as only a body can be that the codec did not refuse before:
bytes anywhere, a stream that ends early, residuals that moved to another level. Run it with
``NUMBA_BOUNDSCHECK=1`` and a ``NUMBA_CACHE_DIR`` of its own: a kernel that leaves its arrays ends it.
"""

from __future__ import annotations

import argparse
import time
from typing import Any
from unittest import mock

import numba
import numpy as np

import photon_gpu as pg
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec import chunk as coder
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.codec.requested_part import ChunkPart
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.kernels import cpu_decode

SHAPE = (4, 6, 10)
CASES = [  # predictor, levels, coded, dtype, most photons: residuals that do not fit half a byte escape
    ("full", 16, True, "uint16", 30),
    ("mean", 0, False, "uint16", 30),
    ("full", 16, False, "uint16", 30),
    ("spatial", 2, True, "uint16", 2),
    ("past", 0, False, "uint16", 3000),
    ("spatial", 16, False, "uint8", 2),
    ("moving", 16, True, "uint16", 30),
    ("none", 0, False, "uint16", 30000),
]


@numba.njit(nogil=True, error_model="numpy")
def _alter(data: Any, most: int, chance: np.random.Generator) -> None:
    for _ in range(chance.integers(0, most + 1) if data.size else 0):
        at = chance.integers(0, data.size)
        flipped = data[at] ^ (1 << chance.integers(0, 8))
        data[at] = flipped if chance.integers(0, 2) else chance.integers(0, 256)


@numba.njit(nogil=True, error_model="numpy")
def _try(
    source: Any,
    grid: Any,
    how: Any,
    levels: Any,
    drawing: Any,
    out: Any,
    codes: Any,
    work: Any,
    body: Any,
    times: int,
    chance: np.random.Generator,
) -> int:
    """Restore and draw altered bodies; return how many contradict themselves, as the kernels say."""
    data, escapes, starts, contradict = body[0], body[1], body[2], 0
    first_data, first_escapes = data.copy(), escapes.copy()
    first_starts, first_levels = starts.copy(), levels.copy()
    for _ in range(times):
        _alter(data, 3, chance)
        _alter(escapes, 2, chance)
        if starts[-1] and not chance.integers(0, 4):
            starts[-1] = chance.integers(0, starts[-1] + 1)
        if levels.shape[1] and chance.integers(0, 2):
            a, b = chance.integers(0, levels.shape[1]), chance.integers(0, levels.shape[1])
            moved = chance.integers(0, levels[0, a] + 1)
            levels[0, a] -= moved
            levels[0, b] += moved
        contradict += cpu_decode.restore_bands(source, grid, how, levels, codes, work)[0] > 0
        cpu_decode.draw_bands(codes, grid, drawing, out)  # as the codec does before it checks the sum
        data[:], escapes[:] = first_data, first_escapes
        starts[:], levels[:] = first_starts, first_levels
    return contradict


def arguments(case: tuple[str, int, bool, str, int], seed: int) -> tuple[Any, ...]:
    """What the codec hands to the kernels for a payload of this case, in arrays that may be altered."""
    name, levels, coded, dtype, photons = case
    values = np.random.default_rng(seed).poisson(photons, SHAPE).clip(0, np.iinfo(dtype).max).astype(dtype)
    predictor = Predictor(name=name, levels=levels, coded=coded)
    encoding = Encoding(layout="compact", dtype=dtype, predictor=predictor, noise=pg.NoiseModel(gain=1.0))
    payload = coder.encode(values, SHAPE, encoding, get_backend("numba"), stages=Stages())
    seen: list[tuple[Any, ...]] = []

    def see(*handed: Any) -> tuple[int, int]:
        seen.append(handed)
        return 0, coder.unpack(payload)[0].checksum

    replaced = {"decode_bands": see, "restore_bands": see, "draw_bands": see}
    with mock.patch.multiple(cpu_decode, **replaced):
        coder.decode(payload, ChunkPart(SHAPE), encoding, get_backend("numba"), what=np.dtype(dtype))
    source, grid, how, counts, work = *seen[0][:4], seen[0][-1]
    drawing, out = seen[0][4:6] if len(seen) == 1 else seen[1][2:4]
    source = source._replace(
        **{key: part.copy() for key, part in source._asdict().items() if isinstance(part, np.ndarray)}
    )
    work = type(work)(*(part.copy() for part in work))
    nothing = np.zeros(0, np.uint8)
    body = (
        source[0].view(np.uint8),
        source.escapes.view(np.uint8) if hasattr(source, "escapes") else nothing,
        source.starts if hasattr(source, "starts") else np.zeros(1, np.int64),
    )
    codes = np.empty(values.size, work.codes.dtype)
    return source, grid, how, counts.copy(), drawing, out, codes, work, body


def main() -> None:
    """Try the cases in turn until the time is over; print how many were tried, and how fast."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.altered_bodies", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=int, default=100_000, help="tries of a payload")
    options = parser.parse_args()
    until, seed = time.monotonic() + options.seconds, options.seed
    tried, contradict, spent = 0, 0, 0.0
    while time.monotonic() < until:
        for case in CASES:
            body, chance = arguments(case, seed), np.random.default_rng(seed)
            _try(*body, 1, chance)  # compile
            begin = time.process_time()
            contradict += _try(*body, options.times, chance)
            spent += time.process_time() - begin
            tried += options.times
            bounds = "with" if numba.config.BOUNDSCHECK else "without"
            print(
                f"{tried:,} survived, {contradict:,} contradict themselves, {bounds} bounds checks, "
                f"{tried / spent:,.0f} a second of processor time; last {case}, seed {seed}",
                flush=True,
            )
            if time.monotonic() > until:
                break
        seed += 1


if __name__ == "__main__":
    main()
