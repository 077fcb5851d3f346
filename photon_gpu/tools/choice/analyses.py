"""Run analyses on a movie: the built-in ones, and functions of the user."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check.fidelity.traces import smooth
from photon_gpu.encode_settings import shown
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError
from photon_gpu.tools.choice.regions import MOST, correlated_pixels, find_regions, traces
from photon_gpu.tools.choice.spots import LEAST, MOST_SPOTS, find_spots, localise

LEAST_FRAMES = 50
_EVENT = 3.0  # robust standard deviations by which an event exceeds the median
_BRIGHT = 2.0  # standard errors by which the light at rest must exceed 0 for dF/F

Results = dict[str, NDArray[np.float64]]
"""Result of each analysis, by name: a number, a list, or ``(items, samples)``."""

Analysis = Callable[[NDArray[Any]], Any]


class BuiltIn:
    """The built-in analyses, on regions and spots of the raw movie.

    Attributes
    ----------
    inventory : str
        Numbers of ROIs and of isolated spots, as text for people.
    skipped : dict
        Reason of each analysis that cannot be run on this movie.
    """

    def __init__(self, raw: NDArray[Any], noise: NoiseModel) -> None:
        self._noise, self._labels, self._bright = noise, None, np.zeros(0, bool)
        self.skipped: dict[str, str] = {}
        of_regions = ("ROI pixels", "traces", "dF/F", "events", "correlations")
        number = 0
        if len(raw) < LEAST_FRAMES:
            self.skipped |= dict.fromkeys(of_regions, f"fewer than {LEAST_FRAMES} frames")
        else:
            labels = find_regions(raw)
            number = int(labels.max())
            if number == 0:
                self.skipped |= dict.fromkeys(of_regions, "no neighbouring pixels change together: no ROI")
            else:
                self._labels = labels
                self._bright = _bright(raw, labels, noise)
                if not self._bright.any():
                    self.skipped["dF/F"] = "no ROI is bright enough at rest for an F0"
                if number == 1:
                    self.skipped["correlations"] = "one ROI: nothing to correlate it with"
        self._spots = find_spots(raw, noise)
        if len(self._spots) < LEAST:
            self.skipped["localisation"] = (
                f"{len(self._spots)} isolated bright spots in single frames; {LEAST} are needed"
            )
        self.inventory = f"{_count(number, MOST)} ROIs, {_count(len(self._spots), MOST_SPOTS)} isolated spots"

    def __call__(self, movie: NDArray[Any]) -> Results:
        """Return the result of each analysis that is not skipped."""
        results: Results = {}
        if self._labels is not None:
            results["ROI pixels"] = correlated_pixels(movie).astype(np.float64)
            light = (traces(movie, self._labels) - self._noise.offset) / self._noise.gain
            results["traces"] = light
            rest = np.percentile(light[self._bright], 20, axis=1, keepdims=True)
            results["dF/F"] = light[self._bright] / np.maximum(rest, 1e-9) - 1
            results["events"] = _events(light).astype(np.float64)
            if len(light) > 1:
                results["correlations"] = _correlations(light)
        if "localisation" not in self.skipped:
            results["localisation"] = localise(movie, self._spots)
        return {name: result for name, result in results.items() if name not in self.skipped}


def _count(number: int, most: int) -> str:
    return f"the first {number:,}" if number == most else f"{number:,}"


def _bright(raw: NDArray[Any], labels: NDArray[np.int32], noise: NoiseModel) -> NDArray[np.bool_]:
    rest = np.percentile(traces(raw, labels), 20, axis=1)
    pixels = np.bincount(labels.ravel())[1:]
    error = np.array([noise.sigma(level) for level in rest]) / np.sqrt(pixels)
    return np.asarray(rest - noise.offset > _BRIGHT * error)


def _events(light: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Frames in which the mean of three frames is three robust standard deviations above the median."""
    calm = smooth(light.T).T
    above = calm - np.median(calm, axis=1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(above), axis=1, keepdims=True)
    return np.asarray(above > _EVENT * np.maximum(spread, 1e-30))


def _correlations(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson correlation of each pair of regions."""
    apart = light - light.mean(1, keepdims=True)
    apart /= np.maximum(np.sqrt((apart**2).sum(1, keepdims=True)), 1e-20)
    return np.asarray((apart @ apart.T)[np.triu_indices(len(light), 1)])


class OwnAnalyses:
    """Functions of the user; each result gets the function's name.

    Parameters
    ----------
    analysis : callable, "module:function", or several of them, or None
    """

    def __init__(self, analysis: Any) -> None:
        one = analysis is None or isinstance(analysis, str) or callable(analysis)
        several = [analysis] if one else analysis
        if not isinstance(several, list | tuple):
            raise _refused(analysis)
        self._functions: dict[str, Analysis] = {}
        for entry in several:
            if entry is None:
                continue
            function = load_function(entry) if isinstance(entry, str) else entry
            if not callable(function):
                raise _refused(entry)
            name = getattr(function, "__name__", type(function).__name__)
            if name in self._functions:
                raise InvalidInputError(f"analysis: two functions have the name {name}; give one another")
            self._functions[name] = function

    def __len__(self) -> int:
        return len(self._functions)

    def __call__(self, movie: NDArray[Any], version: str) -> Results:
        """Run the functions on a version of the movie, such as ``"raw movie"``."""
        results: Results = {}
        for name, function in self._functions.items():
            try:
                value = function(movie.copy())
            except Exception as error:
                raise InvalidInputError(
                    f"analysis {name} failed on the {version}, {movie.dtype} of shape {movie.shape}: "
                    f"{type(error).__name__}: {str(error)[:100]}. Mend it, or leave it out"
                ) from error
            parts = (
                [(f"{name}: {key}", part) for key, part in value.items()]
                if isinstance(value, Mapping)
                else [(name, value)]
            )
            for label, part in parts:
                results[label] = _numbers(label, part)
        return results


def _numbers(name: str, value: Any) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(value)
        if numbers.dtype.kind not in "biuf" or not numbers.size:
            raise TypeError
        return numbers.astype(np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError(
            f"analysis {name[:60]} returned {shown(value)}; a number, a sequence of numbers, or a dictionary "
            "of them is needed"
        ) from None


def load_function(text: str) -> Analysis:
    """Return the function ``"module:function"``; the module may lie in the current folder.

    Examples
    --------
    >>> load_function("statistics:fmean").__name__
    'fmean'
    """
    module, colon, name = text.partition(":")
    if not (colon and module and name) or not all(map(str.isidentifier, [*module.split("."), name])):
        raise InvalidInputError(f"analysis is {shown(text)}; module:function is needed, as in my_lab:events")
    added = "" not in sys.path
    if added:
        sys.path.insert(0, "")
    try:
        function = getattr(importlib.import_module(module), name, None)
    except Exception as error:
        raise InvalidInputError(
            f"analysis {text[:80]}: {module[:60]} cannot be imported ({type(error).__name__}: "
            f"{str(error)[:60]}); run in the folder of {module[:60]}.py, or install it"
        ) from error
    finally:
        if added:
            sys.path.remove("")
    if not callable(function):
        raise InvalidInputError(f"analysis {text[:80]}: {module[:60]} has no function {name[:60]}")
    return function


def _refused(value: Any) -> InvalidInputError:
    return InvalidInputError(
        f"analysis is {shown(value)}; a function of a (t, y, x) array, 'module:function', or a list of them "
        "is needed"
    )


def same_results(names: Iterable[str], results: Results, first: Results, version: str) -> None:
    """Raise InvalidInputError if an analysis did not return as many numbers as for the raw movie."""
    for name in names:
        shape = results[name].shape if name in results else None
        if shape != first[name].shape:
            arrived = "nothing" if shape is None else f"shape {shape}"
            raise InvalidInputError(
                f"analysis {name[:60]} returned {arrived} for the {version}, and shape {first[name].shape} "
                "for the raw movie; results must have the same form, such as a count or a mean"
            )
