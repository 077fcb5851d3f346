"""The kernels are twins: same functions, same order, same bits for the same arguments.

``CASES`` holds, for every public function of the reference, how to make arguments for it; every other
kernel module is run on them and must fill the outputs with the very same bits.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from photon_gpu.engine.codec.predictors import MULTIPLICITY, mix, rates
from photon_gpu.engine.model.anscombe import anscombe, stabilized_floor
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.kernels import cpu, reference
from tests.support.cuda.kernel_vectors import weights_of

TWINS = {"cpu": cpu}


def signatures(module) -> list[tuple[str, list[str]]]:
    """Public functions of a module in the order of its source, with the names of their arguments."""
    tree = ast.parse(inspect.getsource(module))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [(f.name, [a.arg for a in f.args.args]) for f in functions if not f.name.startswith("_")]


@pytest.mark.parametrize("twin", TWINS)
def test_the_twins_have_the_same_functions_in_the_same_order(twin):
    named = [one for one in signatures(reference) if one[0] != "phase"]  # part of the phased kernels
    assert signatures(TWINS[twin]) == named
    assert {name for name, _ in named} == set(CASES) | {"subtract"}
    for constant in ("FRACTION", "WEIGHT", "ESCAPE", "TERMS", "MIX"):
        assert getattr(TWINS[twin], constant) == getattr(reference, constant)


class Out:
    """An output argument: what it holds before the call, garbage as a rule.

    ``margin``: its rows lie apart in memory, as those of a band of a larger frame do.
    """

    def __init__(self, before: np.ndarray, margin: int = 0) -> None:
        self.before, self.margin = before, margin

    def fresh(self) -> np.ndarray:
        if not self.margin:
            return self.before.copy()
        whole = np.zeros((len(self.before), self.before.shape[1] + 2 * self.margin), self.before.dtype)
        out = whole[:, self.margin : -self.margin]
        out[...] = self.before
        return out

    @classmethod
    def like(cls, shape, dtype, rng) -> Out:
        raw = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8)
        return cls(raw.view(dtype).reshape(shape))


def _spread(array: np.ndarray) -> np.ndarray:
    """The same values, every other one of a larger array."""
    every_other = tuple(slice(1, None, 2) for _ in array.shape)
    spread = np.zeros([2 * n for n in array.shape], array.dtype)
    spread[every_other] = array
    return spread[every_other]


def _strided(array: np.ndarray) -> Iterator[np.ndarray]:
    """The same values contiguous, in Fortran order, and spread out in memory."""
    yield from (array, np.asfortranarray(array), _spread(array))


SHAPES = [(1, 1), (1, 7), (5, 1), (3, 64), (4, 333)]
BLOCKS = [(1, 1, 1), (1, 1, 9), (2, 9, 1), (3, 1, 1), (7, 5, 3), (4, 16, 33)]
WIDE = ["int32", "uint32", "int64", "uint64", "float32", "float64"]
NARROW = ["int8", "uint8", "int16", "uint16"]
SEEDS = [0, 1, 0x9E3779B1, 2**32 - 1]
STARTS = [(0, 7), (12345, 0), (2**32 - 3, 1 << 20), (2**40 + 5, 2**33 + 1)]


def extents(rng) -> Iterator[tuple]:
    for dtype in NARROW + WIDE:
        for size in (1, 2, 1000):
            if np.dtype(dtype).kind == "f":
                values = (rng.normal(0, 1e30, size)).astype(dtype)
                for holes in (0, 1, size):
                    broken = values.copy()
                    broken[:holes] = rng.choice([np.nan, np.inf, -np.inf], holes)
                    yield (broken, Out(np.full(3, 7, dtype)))
            else:
                info = np.iinfo(dtype)
                values = rng.integers(info.min, info.max, size, dtype, endpoint=True)
                yield (values, Out(np.full(3, 7, dtype)))


def luts(rng) -> Iterator[tuple]:
    for bits, table in ((8, "uint8"), (16, "uint8"), (16, "uint16"), (16, "uint32"), (16, "float64")):
        lut = rng.integers(0, 256, 1 << bits).astype(table)
        everything = np.arange(1 << bits, dtype=f"u{bits // 8}").reshape(16, -1)
        yield (everything, lut, Out.like(everything.shape, table, rng))
        for shape in SHAPES:
            patterns = rng.integers(0, 1 << bits, shape).astype(f"u{bits // 8}")
            yield (patterns, lut, Out.like(shape, table, rng))
    for patterns in _strided(rng.integers(0, 1 << 16, (6, 50)).astype("u2")):
        yield (patterns, lut, Out.like((6, 50), "float64", rng))


def phased_luts(rng) -> Iterator[tuple]:
    for bits, table in ((8, "uint8"), (16, "uint8"), (16, "uint16"), (16, "float64")):
        lut = rng.integers(0, 256, (16, 1 << bits)).astype(table)
        everything = np.arange(1 << bits, dtype=f"u{bits // 8}").reshape(16, -1)
        for seed, (first, stride) in zip(SEEDS, STARTS, strict=True):
            yield (everything, lut, seed, first, stride, Out.like(everything.shape, table, rng))


def subtractions(rng) -> Iterator[tuple]:
    for dtype in (*NARROW, "int32", "uint32", "int64", "uint64"):
        info = np.iinfo(dtype)
        for out, top in (("uint8", 255), ("uint16", 65535), ("uint32", 2**32 - 1)):
            low = max(info.min, -(2**53))
            high = min(info.max, low + top, 2**53)
            values = rng.integers(low, high, (3, 40), dtype, endpoint=True)
            values[0, :2] = low, high
            yield (values, int(low), Out.like(values.shape, out, rng))
            yield (_spread(values), int(low), Out.like(values.shape, out, rng))


def _tables(rng, dtype: str, phases: int) -> Iterator[tuple]:
    """Values on, just below and between thresholds; models that guess well, badly, and absurdly."""
    for noise in (NoiseModel(), NoiseModel(gain=37.5, offset=91.25, variance=300.0), NoiseModel(gain=0.01)):
        low = 0 if dtype.startswith("u") else -40
        steps = np.sort(rng.integers(low, 100_000, (phases, 300)), axis=1).astype(np.float64)
        steps[:, 20:30] = steps[:, 20:21]  # empty bins
        if np.dtype(dtype).kind == "f":
            steps += rng.random(steps.shape)
            steps = np.sort(steps, axis=1)
        steps[:, 0] = low
        values = np.concatenate([steps.ravel(), steps.ravel() - 1, np.nextafter(steps.ravel(), -np.inf)])
        values = np.append(np.maximum(values, low), [low, 1e6, 2.0**31 - 1])
        values = values.astype(dtype)
        values = np.where(values.astype(np.float64) < low, np.array(low, dtype), values).reshape(1, -1)
        good = [noise.gain, noise.offset, stabilized_floor(noise), 1.0 / 0.5, *[0.5] * phases]
        for model in (
            good,
            [1e-6, 1e12, 1e-9, 1e9, *[-1e18] * phases],
            [1.0, -1e9, 1.0, 1e12, *[9.0] * phases],
        ):
            yield values, steps, np.array(model)


def thresholds(rng) -> Iterator[tuple]:
    for dtype in WIDE:
        for values, steps, model in _tables(rng, dtype, 1):
            yield (values, steps[0], model, -4, Out.like(values.shape, "uint16", rng))
    for out in ("uint8", "uint32"):
        table = np.arange(200.0)
        values = rng.integers(0, 250, (5, 31)).astype("float32")
        yield (values, table, np.array([1.0, 0.0, 0.375, 2.0, 0.5]), 0, Out.like((5, 31), out, rng))


def phased_thresholds(rng) -> Iterator[tuple]:
    for dtype in WIDE:
        for (values, steps, model), seed, (first, stride) in zip(
            _tables(rng, dtype, 16), 3 * SEEDS, 3 * STARTS, strict=False
        ):
            yield (values, steps, model, seed, first, stride, Out.like(values.shape, "uint16", rng))


def dequantize_tables(rng) -> Iterator[tuple]:
    for code, values in (
        ("uint8", "uint16"),
        ("uint16", "int16"),
        ("uint16", "float64"),
        ("uint32", "int64"),
        ("uint8", "uint8"),
        ("uint8", "float32"),
    ):
        size = 256 if code == "uint8" else 1 << 16
        table = rng.integers(0, 100, size).astype(values)
        codes = np.arange(size, dtype=code).reshape(4, -1)
        yield (codes, table, Out.like(codes.shape, values, rng))
    yield (codes[:, :64], table, Out(np.ones((4, 64), "float32"), margin=10))


def phased_dequantize_tables(rng) -> Iterator[tuple]:
    for code, values in (("uint8", "uint16"), ("uint16", "float64"), ("uint32", "int32")):
        size = 256 if code == "uint8" else 1 << 16
        tables = rng.integers(0, 100, (16, size)).astype(values)
        codes = np.arange(size, dtype=code).reshape(4, -1)
        for seed, (first, stride) in zip(SEEDS, STARTS, strict=True):
            yield (codes, tables, seed, first, stride, Out.like(codes.shape, values, rng))


def labels(rng) -> Iterator[tuple]:
    for step in (0.5, 0.1, 1 / 3, 0.01, 16.0):
        k = np.concatenate([np.arange(-4000, 4000), rng.integers(-(2**31) + 1, 2**31, 4000)])
        grid = k * step
        strange = [np.nan, np.inf, -np.inf, 1e300, -0.0, 2.0**31 * step, -(2.0**31) * step, step / 2, 5e-324]
        yield (np.concatenate([grid, strange]), step, Out.like((len(grid) + len(strange),), "int32", rng))
        off = np.nextafter(grid, np.inf)
        yield (off, step, Out.like(off.shape, "int32", rng))
    yield (np.empty(0), 0.5, Out(np.empty(0, "int32")))


def checksums(rng) -> Iterator[tuple]:
    for dtype in ("uint8", "uint16", "uint32"):
        for shape in SHAPES:
            codes = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
            for first, stride in STARTS:
                yield (codes, first, stride)
    for same in _strided(codes):
        yield (same, 3, 1000)
    yield (np.full((8, 5000), 2**32 - 1, "uint32"), 0, 5000)


def _contents(rng, dtype: str, shape) -> Iterator[np.ndarray]:
    """Noise, extremes, and flicker between them."""
    top = np.iinfo(dtype).max
    yield rng.integers(0, top, shape, dtype, endpoint=True)
    yield rng.choice(np.array([0, top], dtype), shape)
    yield np.full(shape, top, dtype)
    yield np.clip(rng.poisson(20, shape), 0, top).astype(dtype)


def means(rng) -> Iterator[tuple]:
    for dtype in ("uint8", "uint16"):
        top = np.iinfo(dtype).max
        for shape in SHAPES:
            for codes in _contents(rng, dtype, shape):
                for rate in (1, 8, 128):
                    # A start as far out as Predictor.relative lets the constant be.
                    for first in (0, top, 2 * (top + 1), -2 * (top + 1)):
                        state = np.full(shape[1] + 3, 99, np.int32)
                        yield (codes, rates(shape[0], rate), first, state, Out.like(shape, dtype, rng))
    # Long enough for means that are no whole numbers of their own, rounded up and down.
    for dtype, light in (("uint8", 20), ("uint8", 200), ("uint16", 900)):
        codes = np.clip(rng.poisson(light, (150, 20)), 0, np.iinfo(dtype).max).astype(dtype)
        for rate in (1, 5, 8, 63, 64):
            yield (codes, rates(150, rate), light, np.empty(20, np.int32), Out.like((150, 20), dtype, rng))
    # Every code after every other code.
    pairs = np.stack([np.repeat(np.arange(256), 256), np.tile(np.arange(256), 256)]).astype("uint8")
    yield (pairs, rates(2, 16), 100, np.empty(1 << 16, np.int32), Out.like(pairs.shape, "uint8", rng))
    every = np.stack([np.arange(1 << 16), rng.permutation(1 << 16)]).astype("uint16")
    yield (every, rates(2, 16), 100, np.empty(1 << 16, np.int32), Out.like(every.shape, "uint16", rng))


def _weights(rng, dtype: str) -> Iterator[np.ndarray]:
    """The mean alone; ordinary mixes; all the weight the format allows, on one term or spread."""
    top = np.iinfo(dtype).max
    reach = 2 * (top + 1) * 256
    plain = np.zeros((2, 11), np.int32)
    plain[:, 0] = 256
    yield plain
    yield np.array(
        [[0] * 6 + [140, 120, -40, 30, 900], [107, -7, 1, -3, 22, 18, 34, 17, 12, 16, -7]], np.int32
    )
    for sign in (1, -1):
        for term in range(10):
            lone = np.zeros((2, 11), np.int32)
            lone[:, term] = sign * (4096 // MULTIPLICITY[term])
            lone[:, 10] = sign * reach
            yield lone
        spread = np.zeros((2, 11), np.int32)
        shares = rng.multinomial(4096, np.full(10, 0.1), 2) // np.array(MULTIPLICITY[:10])
        spread[:, :10] = shares * rng.choice([-1, 1], (2, 10))
        spread[:, 10] = -sign * reach
        yield spread


def mixes(shapes, extreme_shape, name) -> Callable[[np.random.Generator], Iterator[tuple]]:
    def cases(rng) -> Iterator[tuple]:
        def case(codes, weights, rate=16):
            frames, rows, columns = codes.shape
            state = np.full((3, rows + 2, columns + 2), -77, np.int32)
            kernel_weights = weights_of(name, weights, frames)
            return (
                codes,
                kernel_weights,
                rates(frames, rate),
                state,
                Out.like(codes.shape, codes.dtype, rng),
            )

        for dtype in ("uint8", "uint16"):
            every_weight = list(_weights(rng, dtype))
            for shape in shapes:
                for codes in _contents(rng, dtype, shape):
                    yield case(codes, every_weight[1])
            for weights in every_weight:
                for codes in _contents(rng, dtype, extreme_shape):
                    yield case(codes, weights, rate=128)
            yield case(_spread(rng.integers(0, 255, (3, 6, 7)).astype(dtype)), every_weight[1])

    return cases


def _residuals(rng, dtype: str, size: int) -> Iterator[np.ndarray]:
    """Few that escape, as a rule; then none, all, and every value there is."""
    top = np.iinfo(dtype).max
    yield np.minimum(rng.geometric(0.2, size), top).astype(dtype)
    yield rng.integers(0, 15, size, dtype)
    yield np.full(size, 15, dtype)
    yield rng.integers(0, top, size, dtype, endpoint=True)
    yield np.resize(np.arange(top + 1), size).astype(dtype)


LENGTHS = [(1, 2), (2, 2), (7, 4), (63, 64), (64, 64), (65, 64), (129, 128), (1000, 96), (70_000, 1 << 16)]


def packs(rng) -> Iterator[tuple]:
    for dtype in ("uint8", "uint16"):
        for size, segment in LENGTHS:
            for residuals in _residuals(rng, dtype, size):
                rows = -(-size // segment)
                shapes = (((size + 1) // 2,), "uint8"), ((rows, segment), dtype), ((rows,), "int64")
                yield (residuals, segment, *(Out.like(*shape, rng) for shape in shapes))
    spread = np.zeros(2 * size, dtype)
    spread[::2] = residuals
    yield (spread[::2], segment, *(Out.like(*shape, rng) for shape in shapes))


def unpacks(rng) -> Iterator[tuple]:
    for residuals, segment, nibbles, escapes, counts in packs(rng):
        packed, long, actual = nibbles.fresh(), escapes.fresh(), counts.fresh()
        reference.pack(residuals, segment, packed, long, actual)
        starts = np.concatenate([[0], np.cumsum(actual)])
        kept = np.concatenate([row[:count] for row, count in zip(long, actual, strict=True)])
        yield (packed, kept, starts, segment, Out.like(residuals.shape, residuals.dtype, rng))


def levels(rng) -> Iterator[tuple]:
    for codes, weights, steps, state, out in FULL(rng):
        residuals = out.fresh()
        cpu.predict_full(codes, weights, steps, state, residuals)
        for count in (2, 64, 255):
            yield (codes, residuals, Out.like((count,), "int64", rng))


def sorts(rng) -> Iterator[tuple]:
    for codes, residuals, counts in levels(rng):
        actual = counts.fresh()
        reference.count_levels(codes, residuals, actual)
        first = np.cumsum(actual) - actual
        yield (codes, residuals, Out(first), Out.like((codes.size,), codes.dtype, rng))


def sorted_mixes(rng) -> Iterator[tuple]:
    """Whole ones; with a residual too few; in runs that are not those of the levels."""
    for codes, weights, steps, state, out in FULL(rng):
        residuals = out.fresh()
        cpu.predict_full(codes, weights, steps, state, residuals)
        actual = np.empty(64, np.int64)
        reference.count_levels(codes, residuals, actual)
        ends = np.cumsum(actual)
        ordered = out.fresh().reshape(-1)
        reference.sort_levels(codes, residuals, ends - actual, ordered)
        for first, last in (
            (ends - actual, ends),
            (ends - actual, np.maximum(ends - 1, ends - actual)),
            (np.zeros(64, np.int64), np.full(64, codes.size)),
        ):
            yield (ordered, Out(np.stack([first, last])), weights, steps, state, out)


PAST = mixes(BLOCKS, (3, 9, 11), "past")
FULL = mixes(BLOCKS[:-1], (3, 4, 5), "full")

CASES: dict[str, Callable[[np.random.Generator], Iterator[tuple]]] = {
    "extent": extents,
    "quantize_lut": luts,
    "quantize_lut_phased": phased_luts,
    "subtract": subtractions,
    "quantize_thresholds": thresholds,
    "quantize_thresholds_phased": phased_thresholds,
    "dequantize": dequantize_tables,
    "dequantize_phased": phased_dequantize_tables,
    "codes_from_labels": labels,
    "checksum": checksums,
    "predict_mean": means,
    "restore_mean": means,
    "predict_past": PAST,
    "restore_past": PAST,
    "predict_full": FULL,
    "restore_full": FULL,
    "pack": packs,
    "unpack": unpacks,
    "count_levels": levels,
    "sort_levels": sorts,
    "restore_full_sorted": sorted_mixes,
}


def run(function, case: tuple):
    """What a kernel returns, and its outputs, which begin as garbage in fresh memory."""
    outs = [arg.fresh() for arg in case if isinstance(arg, Out)]
    fresh = iter(outs)
    before = [arg.copy() for arg in case if isinstance(arg, np.ndarray)]
    result = function(*(next(fresh) if isinstance(arg, Out) else arg for arg in case))
    inputs = [arg for arg in case if isinstance(arg, np.ndarray)]
    for i, (was, now) in enumerate(zip(before, inputs, strict=True)):
        scratch = now.dtype == np.int32 and i == len(inputs) - 1  # the state is the twins' own
        assert scratch or was.tobytes() == now.tobytes(), "a kernel wrote into its input"
    if function.__name__ == "pack":
        for row, count in zip(*outs[1:], strict=True):
            row[count:] = 0  # arbitrary
    return result, [out.tobytes() for out in outs]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("twin", TWINS)
def test_the_twins_agree_bit_for_bit(twin, name):
    slow, fast = getattr(reference, name), getattr(TWINS[twin], name)
    number = 0
    for number, case in enumerate(CASES[name](np.random.default_rng(0)), 1):
        expected, got = run(slow, case), run(fast, case)
        if expected != got:
            shown = [arg if not isinstance(arg, Out) else "out" for arg in case]
            raise AssertionError(f"{name} differs in case {number}: {shown}")
    assert number > 5


def test_the_sixteen_phases_are_equally_frequent_and_unrelated_to_their_neighbours():
    phases = reference.phase(np.arange(1 << 18, dtype=np.uint32), 5).astype(int)
    counts = np.bincount(phases, minlength=16)
    assert len(counts) == 16 and np.abs(counts - 2**14).max() < 6 * 128
    for lag in (1, 2, 16, 512):
        assert abs(np.corrcoef(phases[:-lag], phases[lag:])[0, 1]) < 0.02
    assert (reference.phase(np.arange(4096, dtype=np.uint32), 6) != phases[:4096]).mean() > 0.9


@pytest.mark.parametrize("predictor", ["mean", "past", "full"])
@pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
def test_what_was_predicted_is_restored(module, predictor):
    predict, restore = getattr(module, f"predict_{predictor}"), getattr(module, f"restore_{predictor}")
    cases = list(CASES[f"predict_{predictor}"](np.random.default_rng(1)))
    for case in cases if module is cpu else cases[::9]:
        codes, *between, out = case
        residuals, restored = np.empty_like(codes, order="C"), np.empty_like(codes, order="C")
        predict(codes, *between, residuals)
        restore(residuals, *between, restored)
        np.testing.assert_array_equal(restored, codes)
        assert isinstance(out, Out)


@pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
def test_what_was_packed_is_unpacked_and_what_contradicts_it_is_noticed(module):
    for residuals, segment, nibbles, escapes, counts in packs(np.random.default_rng(1)):
        packed, long, actual, out = nibbles.fresh(), escapes.fresh(), counts.fresh(), np.empty_like(residuals)
        module.pack(residuals, segment, packed, long, actual)
        starts = np.concatenate([[0], np.cumsum(actual)])
        kept = np.concatenate([row[:count] for row, count in zip(long, actual, strict=True)])
        assert module.unpack(packed, kept, starts, segment, out) == 0
        np.testing.assert_array_equal(out, residuals)
        if kept.size:
            fewer = np.minimum(starts, kept.size - 1)
            assert module.unpack(packed, kept[:-1], fewer, segment, out) > 0
        more = np.concatenate([kept, kept[:1], np.zeros(1, kept.dtype)])
        assert module.unpack(packed, more, np.append(starts[:-1], starts[-1] + 1), segment, out) == 1
        if residuals.size % 2:
            packed[-1] |= 16
            assert module.unpack(packed, kept, starts, segment, out) == 1


@pytest.mark.parametrize("module", [reference, cpu], ids=["reference", "cpu"])
def test_what_was_sorted_is_restored_and_nothing_is_missing_or_left(module):
    for residuals, places, weights, steps, state, out in list(sorted_mixes(np.random.default_rng(1)))[::9]:
        codes, again, runs = out.fresh(), out.fresh(), places.fresh()
        ends = runs[1].copy()
        cpu.restore_full_sorted(residuals, places.fresh(), weights, steps, state, codes)
        assert module.restore_full_sorted(residuals, runs, weights, steps, state, again) == 0
        np.testing.assert_array_equal(again, codes)
        np.testing.assert_array_equal(runs, [ends, ends])
        folded = np.empty_like(codes)
        module.predict_full(codes, weights, steps, state, folded)
        assert np.bincount(folded.ravel()).tolist() == np.bincount(residuals).tolist()


def test_a_perfect_prediction_leaves_zeros():
    codes = np.full((6, 5, 4), 77, "uint8")
    weights = np.zeros((2, 11), np.int32)
    weights[0, 10], weights[1, 0] = 77 * 256, 256
    for predictor in ("past", "full"):
        out, state = np.empty_like(codes), np.empty((3, 7, 6), np.int32)
        kernel_weights = mix(weights, 6) if predictor == "full" else weights
        getattr(reference, f"predict_{predictor}")(codes, kernel_weights, rates(6, 8), state, out)
        assert not out.any()
    flat = np.empty((6, 20), "uint8")
    reference.predict_mean(codes.reshape(6, -1), rates(6, 8), 77, np.empty(20, np.int32), flat)
    assert not flat.any()


def test_residuals_are_folded_small_first():
    codes = np.array([[100, 99, 101, 98, 102, 100 + 127, 100 - 100]], "uint8")
    out = np.empty_like(codes)
    reference.predict_mean(codes, rates(1, 8), 100, np.empty(7, np.int32), out)
    assert out.tolist() == [[0, 1, 2, 3, 4, 254, 199]]


def test_a_checksum_sees_any_one_change_and_any_exchange():
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 4, (6, 50)).astype("uint8")
    whole = reference.checksum(codes, 0, 50)
    for i in range(codes.size):
        for change in (1, 128):
            other = codes.copy()
            other.flat[i] ^= change
            assert reference.checksum(other, 0, 50) != whole
    exchanged = codes.copy()
    exchanged[[0, 1]] = exchanged[[1, 0]]
    assert reference.checksum(exchanged, 0, 50) != whole


def test_a_checksum_is_the_sum_of_its_parts():
    codes = np.random.default_rng(3).integers(0, 200, (4, 60)).astype("uint8")
    parts = sum(cpu.checksum(np.ascontiguousarray(codes[:, i : i + 20]), i, 60) for i in (0, 20, 40))
    assert parts % 2**64 == reference.checksum(codes, 0, 60)


def test_stabilizing_and_guessing_agree_where_the_guess_is_good():
    """A guess decides nothing, but a bad one costs time: the model of ordinary tables guesses right."""
    noise = NoiseModel(gain=3.0, offset=50.0, variance=20.0)
    values = np.linspace(0, 1e6, 1000)
    guess = np.floor(anscombe(values, noise) / 0.5 + 0.5).astype(int)
    table = np.sort([values[guess >= k].min() for k in range(guess[0], guess[-1] + 1) if (guess >= k).any()])
    out = np.empty((1, 1000), "uint32")
    model = np.array([noise.gain, noise.offset, stabilized_floor(noise), 2.0, 0.5 - guess[0]])
    cpu.quantize_thresholds(values.reshape(1, -1), table, model, int(guess[0]), out)
    np.testing.assert_array_equal(out[0] + guess[0], guess)
