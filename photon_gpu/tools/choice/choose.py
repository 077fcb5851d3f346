"""Find the largest quantization step that does not change the results of analyses measurably."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from photon_gpu.encode_settings import (
    EncodeSettings,
    bounded_number,
    checked_noise,
    progress_call,
    shown,
    tell_stage,
    whole_number,
)
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.entropy_and_information import information_kept
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError
from photon_gpu.progress_bar import Progress
from photon_gpu.sources.base import Source
from photon_gpu.sources.missing_frames import without_lost
from photon_gpu.sources.open import open_source
from photon_gpu.sources.select.open_options import SourceOptions
from photon_gpu.tools.choice.analyses import BuiltIn, OwnAnalyses, Results, same_results
from photon_gpu.tools.choice.changes import Change, compare
from photon_gpu.tools.choice.redraw import redraw, scene
from photon_gpu.tools.choice.result import Choice, StepResult
from photon_gpu.tools.choice.sample import WindowSample, read_sample
from photon_gpu.tools.choice.store_in_memory import InMemoryStore
from photon_gpu.writer import auto_noise

STEPS = (0.25, 0.35, 0.5, 0.71, 1.0, 1.41, 2.0)
PIXELS = 1 << 24
"""Default number of values of the sample."""

_STORED_TAKES = 3
"""Redrawn takes that are stored too; few numbers need more than the one change of the raw movie."""

_LEAST_REDRAWS = 4


def choose(
    source: Any,
    *,
    noise: NoiseModel | Sequence[NoiseModel] | str | None = None,
    steps: Sequence[float] = STEPS,
    analysis: Callable[[NDArray[Any]], Any] | str | Sequence[Any] | None = None,
    redraws: int = 8,
    pixels: int = PIXELS,
    seed: int = 0,
    preset: str = "balanced",
    trust_noise: bool = False,
    accept_processed: bool = False,
    backend: str = "auto",
    workers: int | None = None,
    progress: Progress | bool | None = None,
    **source_options: Unpack[SourceOptions],
) -> Choice:
    """Find the largest step whose effect on analyses is small beside that of the photon noise.

    A sample of the movie is encoded with each step and decoded. Analyses run on the raw sample, on what was
    stored, and on takes with redrawn noise, which show what recording the same scene again would have
    changed.

    Parameters
    ----------
    source : array, path, URL or Source
        The raw movie, ``(T, H, W)``: of several channels or planes, one.
    noise : NoiseModel or "auto", optional
        Default: estimated from the movie, as :func:`photon_gpu.encode` does.
    steps : sequence of float
        Steps to try, sigma.
    analysis : callable, "module:function", or a list of them, optional
        Your own analyses, beside the built-in ones: functions of a ``(t, y, x)`` array in the dtype of the
        movie that return a number, a sequence of numbers, or a dictionary of them.
    redraws : int
        Redrawn takes, at least 4. An analysis runs ``1 + redraws + 4 * len(steps)`` times.
    pixels : int
        Approximate number of values of the sample: the middle of the frames, in four runs of frames that
        are spread over the movie if it is longer.
    seed : int
        Seed of the redrawn noise. Equal seeds give equal results.
    preset : str
        Preset of the encode, which the size depends on.
    trust_noise, accept_processed : bool
        See :func:`photon_gpu.encode`.
    backend : str
    workers : int, optional
    progress : callable, optional
        ``progress(runs_done, runs_in_all)``.
    **source_options
        Options of :func:`photon_gpu.open_source`.

    Returns
    -------
    Choice
        ``recommended``, ``steps``, ``advice``, ``to_dict()``, ``plot("choice.png")``.

    Raises
    ------
    InvalidInputError
        The movie is too short or too small, its noise cannot be modelled, no analysis can be run, or one
        failed.

    Notes
    -----
    **Takes.** There is one recording, so its light is estimated: the mean over 5 frames, plus what the noise
    does not explain (Lee's filter, see :func:`~photon_gpu.tools.choice.redraw.scene`). Each take draws new
    photons and read noise for that light by the noise model. The light keeps up to a fifth of the raw
    movie's noise variance as if it were scene. That adds nothing to the difference of two takes, so takes
    differ no more than real ones would, and the verdict is on the safe side.

    **Ratio.** For each result: root mean square of ``stored - original`` (the raw movie and 3 takes), over
    that of ``take_i - take_j``. Both have the unit of the result, so the ratio has none. An independent
    change of that ratio adds ``2 * ratio**2`` to the variance that one take has by its photons. The limit is
    a ratio of 0.22, which adds 10 %: error bars grow by 5 %, and an average needs 10 % more trials for the
    same precision. In theory a result that is linear in the pixels has a ratio of ``step / sqrt(24)``:
    0.10 at step 0.5, 0.20 at 1, 0.41 at 2, whatever the movie.

    **Whole numbers** (counts, masks, events) jump: the number of jumps is proportional to the change, not to
    its square. There the ratio is that of the shares of entries which change, with the same limit.

    **Few numbers** scatter. For a single number the limit is the one that a harmless change exceeds in one
    of 20 trials (up to 0.35).

    **Bias.** ``bias`` is the mean change in standard deviations of one take. An average over more than
    ``1 / bias**2`` independent results would see it, however small the ratio.

    **Built in**: pixels that correlate with their neighbours, of which ROIs are made (found again in each
    version); traces of the ROIs of the raw movie (photons per pixel); their dF/F (F0: the 20th percentile);
    events (frames in which the mean of three is 3 robust standard deviations above the median); correlations
    between ROIs; positions of isolated bright spots in single frames (pixels), where there are 20.

    Examples
    --------
    >>> import photon_gpu as pg
    >>> raw = pg.simulate(frames=100, height=48, width=48, cells=4, seed=3)
    >>> choice = pg.choose(raw, noise=raw.noise, steps=[0.5, 4.0], redraws=4)
    >>> choice.recommended.step, choice.steps[1].distinguishable
    (0.5, True)
    """
    start = time.perf_counter()
    progress = progress_call(progress)
    settings = EncodeSettings(
        noise=checked_noise(noise),
        layout="compact",
        preset=preset,
        backend=backend,
        workers=workers,
        trust_noise=trust_noise,
        accept_processed=accept_processed,
    )
    tried = _steps(steps)
    redraws = int(bounded_number("redraws", whole_number("redraws", redraws, _LEAST_REDRAWS), 0, 1000))
    pixels = int(bounded_number("pixels", pixels, 1 << 9, 1 << 31))
    seed = whole_number("seed", seed, 0)
    own = OwnAnalyses(analysis)
    opened = open_source(source, **source_options)
    try:
        movie = without_lost(opened)
        tell_stage(progress, "reading a sample")
        sample = read_sample(movie, pixels)
        tell_stage(progress, "estimating the noise")
        model, notes = _noise(movie, settings)
    finally:
        if opened is not source:
            opened.close()
    stores = [InMemoryStore(step, model, preset, backend, workers) for step in tried]
    built_in = BuiltIn(sample.movie, model)
    if not own and len(built_in.skipped) == 6:
        reasons = "; ".join(dict.fromkeys(built_in.skipped.values()))
        raise InvalidInputError(
            f"{movie.name[-60:]}: choose has no result to compare: {reasons}. Give more frames, or a "
            "function of your own as analysis='module:function'"
        )
    changes, skipped = _run(sample, model, stores, (built_in, own), redraws, seed, progress)
    photons = model.photons(float(sample.movie.mean(dtype=np.float64)))
    return Choice(
        source=movie.name,
        sample=str(sample),
        inventory=built_in.inventory,
        dtype=movie.dtype.name,
        noise=model,
        photons=photons,
        steps=tuple(
            StepResult(
                step=store.step,
                raw_bytes=sample.movie.nbytes,
                stored_bytes=store.stored_bytes,
                information=_information(model, store.step, movie.dtype.name, photons),
                changes=tuple(of_step),
            )
            for store, of_step in zip(stores, changes, strict=True)
        ),
        skipped={**built_in.skipped, **skipped},
        notes=notes,
        redraws=redraws,
        seed=seed,
        seconds=time.perf_counter() - start,
    )


def _steps(steps: Any) -> list[float]:
    if isinstance(steps, str | bytes) or not isinstance(steps, Sequence | np.ndarray) or not len(steps):
        raise InvalidInputError(f"steps are {shown(steps)}; a list such as [0.5, 1.0] is needed, in sigma")
    return sorted({EncodeSettings(step=step).step for step in steps})


def _noise(movie: Source, settings: EncodeSettings) -> tuple[NoiseModel, tuple[str, ...]]:
    """Noise model, estimated or compared with the movie, and the notes on it."""
    if isinstance(settings.noise, tuple):
        raise InvalidInputError(
            f"noise has {len(settings.noise)} models; choose looks at one channel: give one"
        )
    settled = auto_noise.settle(movie, settings.encoding(movie.dtype.name), settings)
    model = settled.encoding.noise
    if model is None:
        raise InvalidInputError(f"{movie.name[-60:]}: no noise model; give noise=NoiseModel(...)")
    return model, (*settled.warnings, *settled.notes)


def _information(model: NoiseModel, step: float, dtype: str, photons: float) -> float:
    return float(information_kept(CodeTable(model, step=step, dtype=dtype), photons))


def _run(
    sample: WindowSample,
    model: NoiseModel,
    stores: list[InMemoryStore],
    analyses: tuple[BuiltIn, OwnAnalyses],
    redraws: int,
    seed: int,
    progress: Progress | None,
) -> tuple[list[list[Change]], dict[str, str]]:
    """Changes of each step, and results that are never finite."""
    built_in, own = analyses
    in_all, done = 1 + redraws + (1 + _STORED_TAKES) * len(stores), 0
    first: Results = {}

    def analyse(movie: NDArray[Any], version: str) -> Results:
        nonlocal done
        results = {**own(movie, version), **built_in(movie)}
        same_results(first, results, first, version)
        done += 1
        if progress is not None:
            progress(done, in_all)
        return results

    takes: list[Results] = []
    stored: dict[float, list[tuple[Results, Results]]] = defaultdict(list)
    light = scene(sample, model)
    for number in range(redraws + 1):
        version = f"take {number}" if number else "raw movie"
        movie = redraw(light, model, sample.movie, seed, number) if number else sample.movie
        results = analyse(movie, version)
        if number:
            takes.append(results)
        else:
            first.update(results)
        for store in stores if number <= _STORED_TAKES else ():
            after = analyse(store(movie), f"{version} stored at step {store.step:g}")
            stored[store.step].append((results, after))
    changes: list[list[Change]] = []
    never: dict[str, str] = {}
    for store in stores:
        mine = []
        for name in first:
            pairs = [(before[name], after[name]) for before, after in stored[store.step]]
            change = compare(name, pairs, [take[name] for take in takes], seed)
            if change is None:
                never[name] = "not finite in every version"
            else:
                mine.append(change)
        changes.append(mine)
    # A result that is not finite at one step cannot be judged at the others.
    return [[one for one in mine if one.name not in never] for mine in changes], never
