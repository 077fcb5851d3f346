"""Bytes that are hard to code by Huffman codes, and the Blosc frames of them by any of the twins."""

from __future__ import annotations

import ast
import inspect

import numpy as np

LENGTHS = (0, 1, 2, 6, 127, 128, 129, 130, 131, 255, 256, 257, 1023, 1024, 1025, 16383, 16384, 16385)
LONG = (65535, 65536, 65537, 65791, 65792, (1 << 17) - 1, 1 << 17, (1 << 17) + 1)
NOTHING = np.empty(0, np.uint8)


def fibonacci(rng: np.random.Generator, size: int) -> np.ndarray:
    """The bytes whose unlimited code is deepest for their number."""
    counts = [1, 1]
    while sum(counts) + counts[-1] + counts[-2] <= size:
        counts.append(counts[-1] + counts[-2])
    return rng.permutation(np.resize(np.repeat(np.arange(len(counts)), counts), size))


BYTES = {
    "equal": lambda rng, size: np.full(size, 200),
    "two symbols": lambda rng, size: 255 * (rng.random(size) < 0.03),
    "two blocks of one symbol each": lambda rng, size: np.arange(size) >= size // 2,
    "six symbols": lambda rng, size: rng.integers(0, 6, size),
    "256 symbols": lambda rng, size: rng.integers(0, 256, size),
    "noise": lambda rng, size: np.clip(np.rint(rng.normal(128, 5, size)), 0, 255),
    "half bytes": lambda rng, size: 16 * np.minimum(rng.geometric(0.4, size), 15) + rng.integers(0, 9, size),
    "deepest": fibonacci,
    "each rarer": lambda rng, size: np.minimum(rng.geometric(0.5, size) * 3, 255),
    "changing": lambda rng, size: np.clip(rng.normal(0, 1 + np.arange(size) / 300), -128, 127) + 128,
    # The first block is stored as it is, so the second has no codes to begin with.
    "noise after what does not shrink": lambda rng, size: np.where(
        np.arange(size) < 1 << 15, rng.integers(0, 256, size), rng.integers(0, 200, size)
    ),
}


def made(name: str, size: int, seed: int = 0) -> np.ndarray:
    return np.asarray(BYTES[name](np.random.default_rng(seed), size)).astype(np.uint8)


def in_blosc(
    kernels, data: np.ndarray, length: int, block: int, numbers: tuple = (), ready: np.ndarray = NOTHING
) -> np.ndarray:
    """Blosc frame of ``data``, after looking for bytes written beyond :func:`most_blosc_bytes`."""
    most = kernels.most_blosc_bytes(data.size, length, block)
    fenced = np.full(most + 64, 7, np.uint8)
    size = kernels.encode_blosc(
        data, length, block, fenced[32 : 32 + most], np.array(numbers, np.int64), np.array(ready)
    )
    assert 16 < size <= data.size + 16 and (fenced[:32] == 7).all() and (fenced[32 + most :] == 7).all()
    return fenced[32 : 32 + size].copy()


def altered(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A frame with some bits flipped, half the time near its beginning; or cut, or prolonged."""
    bad = frame.copy()
    for _ in range(rng.integers(1, 4)):
        end = min(bad.size, 140) if rng.random() < 0.5 else bad.size
        bad[rng.integers(0, end)] ^= np.uint8(1 << rng.integers(0, 8))
    return np.resize(bad, rng.integers(0, frame.size + 9)) if rng.random() < 0.1 else bad


def functions(module) -> list[tuple[str, list[str]]]:
    tree = ast.parse(inspect.getsource(module))
    every = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [(f.name, [a.arg for a in f.args.args]) for f in every if not f.name.startswith("_")]
