"""Choose predictor and Blosc settings by trying candidates on a sample of the movie.

The smallest result wins. Times are not compared, so the same movie always gives the same store. The
candidates of a preset determine its speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from photon_gpu.encode_settings import AUTO, EncodeSettings
from photon_gpu.engine.codec import blosc
from photon_gpu.engine.codec import chunk as coder
from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.predictors import LEVELS, SORTABLE, Predictor, band_rows, fit
from photon_gpu.engine.codec.quantize import Quantizer, extent
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.clipping_levels import NO_CLIPPING, clipping_levels
from photon_gpu.engine.model.clipping_levels_code_table import ClippedCodeTable
from photon_gpu.engine.model.entropy_and_information import COARSE, DARK_PHOTONS, entropy, information_kept_by
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.fast_crc32 import crc32
from photon_gpu.engine.runtime.stopwatch import Map, Stages
from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.base import Source
from photon_gpu.sources.select.selected import by_channel
from photon_gpu.writer.photon_peak_choice import chosen_peaks

_MIB = 1 << 20
_LOOKED_AT = 1 << 21  # Pixels of each part of the sample in which clipping levels are looked for.
_SPREAD_FRAMES = 8
_COUNTED = 1 << 15
_SHARED = 1 << 18  # Pixels of a sample above which several threads try candidates.
_MANY = 1 << 18  # Samples in a band above which the size of its tables hardly matters.
_MOST_BITS = 1.2
_EXACT_COST = 1.01  # If every value has its own code, exact values may be larger by this factor.
# Unless all of a movie is tried, a later compressor must save more than 1 %: a sample overstates what small
# blocks and bit planes save.
_LATER_COST = 1.01
_NOISE_BITS, _CLOSE = 2.0, 1.05
_FRAMES = 32
_MOST_READ = 64  # Most pixels to read per pixel that is tried, because whole frames are read.
_PACKED = Compressor(cname="zstd", clevel=1, shuffle=0, blocksize=_MIB // 4)
_LEVELS = Compressor(cname="zstd", clevel=1, shuffle=0, blocksize=_MIB // 32)  # Few levels in each block.
_BY_BYTE = Compressor(cname="zstd", clevel=1, shuffle=1, blocksize=_MIB)
_BY_BIT = Compressor(cname="zstd", clevel=1, shuffle=2, blocksize=_MIB)


def _zstd(level: int, shuffle: int) -> Compressor:
    return Compressor(cname="zstd", clevel=level, shuffle=shuffle, blocksize=_MIB)


@dataclass(frozen=True)
class _Preset:
    """Candidates of a preset in order of preference (the first wins a tie), and the size of the sample.

    ``coded``: levels by which residuals are sorted and coded; fewer, whose tables are smaller, for small
    bands.
    """

    pixels: int
    predictors: tuple[tuple[str, int], ...]
    compact: tuple[Compressor, ...]
    plain: tuple[Compressor, ...]
    lossless: tuple[Compressor, ...]
    coded: tuple[int, ...] = ()


_PRESETS = {
    "fast": _Preset(
        1 << 17,
        (("mean", 8), ("none", 8)),
        (_PACKED,),
        (_BY_BYTE,),
        (_BY_BIT,),
    ),
    "balanced": _Preset(
        1 << 19,
        (("past", 16), ("mean", 16), ("mean", 32), ("mean", 8), ("none", 8)),
        (_PACKED, _LEVELS, _BY_BIT),
        (_BY_BYTE, _BY_BIT),
        (_BY_BIT, _BY_BYTE, _zstd(5, 2)),
    ),
    "small": _Preset(
        1 << 21,
        (("full", 16), ("full", 4), ("moving", 16), ("spatial", 8), ("past", 16), ("mean", 16), ("none", 8)),
        (_PACKED, _LEVELS, _zstd(5, 0), _zstd(9, 0), replace(_LEVELS, clevel=9)),
        (_BY_BYTE, _BY_BIT, _zstd(5, 1), _zstd(9, 1), _zstd(9, 2)),
        (_BY_BIT, _BY_BYTE, _zstd(5, 2), _zstd(9, 2), _zstd(9, 1), _zstd(9, 0)),
        coded=(LEVELS, 16),
    ),
}


@dataclass(frozen=True)
class Trial:
    """One candidate and the size of the sample with it."""

    predictor: str
    levels: int
    coded: bool
    exact: bool
    compressor: Compressor
    nbytes: int


@dataclass(frozen=True)
class EncodingChoice:
    """Chosen encoding, all trials, mean light of the sample, and CRC of its codes (lossless: its values).

    ``warnings`` say where the step costs more than it does in bright light.
    """

    encoding: Encoding
    trials: tuple[Trial, ...]
    mean: float
    sample_crc: int = 0
    warnings: tuple[str, ...] = ()


def choose(
    source: Source,
    encoding: Encoding,
    backend: Backend,
    settings: EncodeSettings,
    *,
    chunk_frames: int,
    run: Map = map,
) -> EncodingChoice:
    """Complete an encoding with the predictor and compressor that give the smallest sample.

    A predictor or compressor that ``settings`` fixes is not varied; the preset sets the other candidates.
    """
    if encoding.channels:
        return _choose_by_channel(source, encoding, backend, settings, chunk_frames, run)
    preset = _PRESETS[settings.preset]
    # Small trials run mostly in Python, where threads would wait for each other.
    run = map if preset.pixels < _SHARED else run
    try:
        choice = _choose(source, encoding, backend, settings, preset, chunk_frames, run)
    except InvalidInputError:
        _tell_where(source, encoding, backend, chunk_frames)
        raise
    warning = dark_warning(choice.encoding, choice.mean)
    return choice if warning is None else replace(choice, warnings=(warning,))


def dark_warning(encoding: Encoding, mean: float) -> str | None:
    """Say what a coarse step costs in a movie of little light, whose mean is ``mean`` ADU; None if little."""
    if encoding.noise is None or encoding.step is None or encoding.exact or encoding.step < COARSE:
        return None
    photons = encoding.noise.photons(mean)
    if not photons < DARK_PHOTONS:
        return None
    tables = [encoding.but(step=step, clipping=NO_CLIPPING).table() for step in (encoding.step, 0.5)]
    shares = information_kept_by(tables, photons)
    return (
        f"a step of {encoding.step:g} keeps {shares[0]:.0%} of the information about the light at "
        f"{max(photons, 0.0):.1f} photons per pixel, which is the mean of this movie; a step of 0.5 keeps "
        f"{shares[1]:.0%} (docs/dark.md)"
    )


def _choose_by_channel(
    source: Source,
    encoding: Encoding,
    backend: Backend,
    settings: EncodeSettings,
    chunk_frames: int,
    run: Map,
) -> EncodingChoice:
    """Choose for each channel; the first channel chooses the compressor, since an array has only one."""
    choices: list[EncodingChoice] = []
    for part, channel in zip(by_channel(source), encoding.channels, strict=True):
        choices.append(choose(part, channel, backend, settings, chunk_frames=chunk_frames, run=run))
        settings = settings.replace(compressor=choices[0].encoding.compressor)
    chosen = tuple(choice.encoding for choice in choices)
    return EncodingChoice(
        encoding.but(channels=chosen, compressor=chosen[0].compressor),
        tuple(trial for choice in choices for trial in choice.trials),
        min(choice.mean for choice in choices),
        crc32(np.array([choice.sample_crc for choice in choices], "<u8").data),
        tuple(f"channel {n}: {text}" for n, choice in enumerate(choices) for text in choice.warnings),
    )


def _choose(
    source: Source,
    encoding: Encoding,
    backend: Backend,
    settings: EncodeSettings,
    preset: _Preset,
    chunk_frames: int,
    run: Map,
) -> EncodingChoice:
    seen: list[NDArray] = []

    def read(start: int, stop: int) -> NDArray:
        values = source.read(start, stop)
        seen.append(values[: max(1, _LOOKED_AT // math.prod(source.shape[1:]))])
        return values

    blocks = sample(source, encoding, backend, chunk_frames, preset.pixels, read)
    if settings.peaks == AUTO:
        encoding = encoding.but(peaks=chosen_peaks(blocks, encoding))
    encoding = with_clipping(source, encoding, backend, seen)
    mean = float(sum(block.mean(dtype=np.float64) for block in blocks) / len(blocks))
    fixed = settings.fixed_compressor
    compressors = (fixed,) if fixed else getattr(preset, encoding.layout)
    if _band_samples(source, chunk_frames) >= _MANY:
        # In the bands of the movie the size of the tables hardly matters; in a small sample it would.
        preset = replace(preset, coded=preset.coded[:1])
    if encoding.layout == "compact":
        whole = sum(block.size for block in blocks) == math.prod(source.shape)
        later_cost = 1.0 if whole else _LATER_COST
        return _choose_compact(
            blocks, encoding, backend, preset, settings.predictor, compressors, later_cost, mean, run
        )
    trials = tuple(
        Trial(
            "none",
            0,
            False,
            False,
            c,
            0 if len(compressors) == 1 else _stored(encoding.but(compressor=c), blocks, backend),
        )
        for c in compressors
    )
    best = min(trials, key=lambda trial: trial.nbytes)
    if encoding.step is not None:
        blocks = [_codes(block, encoding, backend) for block in blocks]
    return EncodingChoice(encoding.but(compressor=best.compressor), trials, mean, _crc(blocks))


def _choose_compact(
    blocks: list[NDArray],
    encoding: Encoding,
    backend: Backend,
    preset: _Preset,
    predictor: str | Predictor | None,
    compressors: tuple[Compressor, ...],
    later_cost: float,
    mean: float,
    run: Map,
) -> EncodingChoice:
    exactness = (
        [False] if encoding.dtype.startswith("float") or encoding.dither is not None else [False, True]
    )
    if isinstance(predictor, str):
        rate = next((rate for name, rate in preset.predictors if name == predictor), 16)
        named: tuple[tuple[str, int], ...] = ((Predictor(name=predictor).name, rate),)
    else:
        named = preset.predictors
    trials: list[Trial] = []

    def sizes_of(tried: list[Encoding]) -> list[int]:
        sizes = list(run(lambda candidate: _stored(candidate, blocks, backend), tried))
        for candidate, nbytes in zip(tried, sizes, strict=True):
            made = candidate.predictor
            trials.append(
                Trial(made.name, made.levels, made.coded, candidate.exact, candidate.compressor, nbytes)
            )
        return sizes

    candidates: list[Encoding] = []
    bits: dict[bool, float] = {}
    sample_crc = 0
    for exact in exactness:
        base = encoding.but(exact=exact, compressor=compressors[0], predictor=Predictor(name="none"))
        try:
            codes = [_codes(block, base, backend) for block in blocks]
            if not exact:
                sample_crc = _crc(codes)
            if exact and entropy(_some(codes, _COUNTED // 8)) > _MOST_BITS * bits[False]:
                continue  # A small sample has a lower entropy than a large one.
            bits[exact] = entropy(_some(codes))
            if exact and bits[True] > _MOST_BITS * bits[False]:
                continue  # No predictor can compensate for an entropy this much higher than that of codes.
            if isinstance(predictor, Predictor):
                candidates.append(base.but(predictor=predictor))
                continue
            for made in run(partial(_fit, codes), named):
                candidates.append(base.but(predictor=made))
                if made.name in SORTABLE:
                    sorts = preset.coded or ((LEVELS,) if isinstance(predictor, str) else ())
                    candidates += [
                        base.but(predictor=replace(made, levels=levels, coded=bool(preset.coded)))
                        for levels in sorts
                    ]
        except InvalidInputError:
            if not exact:
                raise
    # Exact values win a tie because they lose nothing; codes that distinguish all values save nothing.
    apart = True in bits and math.isclose(bits[True], bits[False], abs_tol=1e-9)

    def rank(nbytes: int, one: Encoding) -> tuple[float, bool]:
        cost = 1.0 if one.compressor == compressors[0] or one.predictor.coded else later_cost
        if one.exact and apart and not one.predictor.coded:
            cost /= _EXACT_COST
        return nbytes * cost, not one.exact

    # All predictors with the two quickest compressors, then the others with the best three combinations.
    tried = [one.but(compressor=other) for one in candidates for other in compressors[:2]]
    alone = [one for one in tried if one.predictor.name == "none"]
    tried = [one for one in tried if one.predictor.name != "none"]
    sizes = sizes_of(tried)
    # zstd finds no matches in noise, so the size of unpredicted codes follows from their entropy.
    most = _CLOSE * 8 * min(sizes) / sum(block.size for block in blocks) if tried else np.inf
    alone = [one for one in alone if bits[one.exact] < max(most, _NOISE_BITS)]
    tried, sizes = tried + alone, sizes + sizes_of(alone)
    order = sorted(range(len(tried)), key=lambda i: rank(sizes[i], tried[i]))
    leading: dict[tuple[bool, str, int], Encoding] = {}
    for i in order:
        made = tried[i].predictor
        leading.setdefault((tried[i].exact, made.name, made.levels), tried[i])
    # No compressor changes residuals that are range-coded already.
    slower = [
        one.but(compressor=other)
        for one in list(leading.values())[:3]
        for other in (() if one.predictor.coded else compressors[2:])
    ]
    tried, sizes = [tried[order[0]], *slower], [sizes[order[0]], *sizes_of(slower)]
    best = tried[min(range(len(tried)), key=lambda i: rank(sizes[i], tried[i]))]
    return EncodingChoice(best, tuple(trials), mean, sample_crc)


def with_clipping(source: Source, encoding: Encoding, backend: Backend, seen: Sequence[NDArray]) -> Encoding:
    """Add the levels at which values pile up, if they share a bin with other values.

    ``seen`` is frames that were read already; single frames from all over the movie are read besides.
    """
    if encoding.step is None or encoding.dtype.startswith("float"):
        return encoding
    frames = source.shape[0]
    if sum(len(part) for part in seen) < frames:
        spread = [frames * number // _SPREAD_FRAMES for number in range(1, _SPREAD_FRAMES)]
        seen = [*seen, *(source.read(t, t + 1) for t in dict.fromkeys(spread))]
    levels = clipping_levels(_brought_here(list(seen), source, encoding, backend))
    clipped = encoding.but(clipping=levels)
    if not clipped.clipping:
        return encoding
    table = clipped.table()
    assert isinstance(table, ClippedCodeTable)
    return clipped if table.needed else encoding


def sample(
    source: Source,
    encoding: Encoding,
    backend: Backend,
    chunk_frames: int,
    pixels: int,
    read: Callable[[int, int], NDArray] | None = None,
) -> list[NDArray]:
    """Read blocks ``(t, rows, columns)`` to try candidates on: a small movie as a whole, else parts of it.

    Parts are two bands of rows, from the start of the first and of the middle chunk. They have few rows and
    at least 32 frames, because a running mean needs many frames. For frames on a GPU, the blocks hold values
    with the same codes (see :meth:`photon_gpu.engine.gpu.coder.Gpu.sample`). ``read`` stands in for that of
    the source.
    """
    read = read or source.read
    frames, *middle, columns = source.shape
    rows = math.prod(middle)
    chunks = -(-frames // chunk_frames)
    if frames * rows * columns <= 2 * pixels:
        parts = range(0, frames, chunk_frames)
        whole = [read(start, min(start + chunk_frames, frames)) for start in parts]
        return _brought_here(
            [values.reshape(-1, rows, columns) for values in whole], source, encoding, backend
        )
    starts = sorted({0, (chunks // 2) * chunk_frames if chunks > 1 else 0})
    # A small sample is one band of each chunk; otherwise the fixed cost of a trial would dominate.
    bands = [(0.3, 0.7)] * len(starts) if pixels >= _SHARED or len(starts) < 2 else [(0.3,), (0.7,)]
    per_block = max(pixels // sum(map(len, bands)), 1)
    most = max(1, min(chunk_frames, _MOST_READ * pixels // (rows * columns)))
    count = min(most, max(1, min(_FRAMES, per_block // columns)))
    band = max(1, min(band_rows(rows, columns), per_block // (count * columns)))
    count = min(most, max(count, per_block // (band * columns)))
    blocks = []
    for start, shares in zip(starts, bands, strict=True):
        values = read(start, min(start + count, frames)).reshape(-1, rows, columns)
        tops = sorted({max(0, min(rows - band, int(rows * share) - band // 2)) for share in shares})
        blocks += [values[:, top : top + band] for top in tops]
    if pixels < _SHARED and len({block.shape for block in blocks}) == 1:
        # Candidates of small samples treat pixels separately, so parts may lie side by side, in half as
        # many calls.
        blocks = [np.concatenate(blocks, axis=1)]
    return _brought_here(blocks, source, encoding, backend)


def _band_samples(source: Source, chunk_frames: int) -> int:
    """Samples of a whole band of a chunk."""
    frames, *middle, columns = source.shape
    rows = math.prod(middle)
    return min(frames, chunk_frames) * min(rows, band_rows(rows, columns)) * columns


def _brought_here(
    blocks: list[NDArray], source: Source, encoding: Encoding, backend: Backend
) -> list[NDArray]:
    if source.device is None:
        return [np.ascontiguousarray(block) for block in blocks]
    assert backend.gpu is not None
    return [backend.gpu.sample(block, encoding) for block in blocks]


def _tell_where(source: Source, encoding: Encoding, backend: Backend, chunk_frames: int) -> None:
    """Raise the error of a sample with its position in the movie."""
    frames = source.shape[0]
    for start in sorted({0, -(-frames // chunk_frames) // 2 * chunk_frames}):
        values = source.read(start, min(start + chunk_frames, frames))
        if backend.gpu is not None:
            backend.gpu.codes(values, encoding.but(layout="plain"), first_frame=start, stages=Stages())
        else:
            extent(values, backend, noise=encoding.noise, first_frame=start)


def _codes(block: NDArray, encoding: Encoding, backend: Backend) -> NDArray:
    """Absolute codes of a sample block, integers of any width."""
    if encoding.exact:
        return block
    spread = extent(block, backend, noise=encoding.noise)
    quantizer = Quantizer(encoding.table(), spread, backend, encoding.seed)
    frames, rows, columns = block.shape
    out = np.empty((frames, rows * columns), quantizer.dtype)
    quantizer(block.reshape(frames, -1), 0, rows * columns, out)
    wide = out.astype(np.int32 if abs(quantizer.base) + quantizer.top < 1 << 31 else np.int64)
    return np.add(wide, quantizer.base, out=wide).reshape(block.shape)


def _crc(codes: list[NDArray]) -> int:
    """CRC of codes, not of values, since for floats on a GPU only the codes are on the host."""
    crc = 0
    for block in codes:
        crc = crc32(np.ascontiguousarray(block).data, crc)
    return crc


def _some(blocks: list[NDArray], count: int = _COUNTED) -> NDArray:
    """Select ``count`` to twice as many samples, evenly spread, or all if there are fewer."""
    every = max(1, sum(block.size for block in blocks) // count)
    return np.concatenate([block.reshape(-1)[::every] for block in blocks])


def _fit(codes: list[NDArray], pair: tuple[str, int]) -> Predictor:
    return fit(codes, *pair)


def _stored(encoding: Encoding, blocks: list[NDArray], backend: Backend) -> int:
    total = 0
    for block in blocks:
        if encoding.layout == "compact":
            payload = coder.encode(block, block.shape, encoding, backend, stages=Stages())
            total += len(blosc.compress_bytes(payload, encoding.compressor))
        else:
            total += len(layout_for(encoding, backend).encode(block, block.shape, Resources()))
    return total
