"""Result of a choice: size, changes and verdict of each step, and the step that is recommended."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from photon_gpu.engine.model.entropy_and_information import COARSE, DARK_PHOTONS
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.tools.choice.changes import LIMIT, Change

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_COLUMNS = 9


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Size and changes of one step.

    Attributes
    ----------
    step : float
        Quantization step, sigma.
    raw_bytes, stored_bytes : int
        Of the sample.
    information : float
        Fisher information about the light that is kept at the mean light of the sample.
    changes : tuple of Change
        One for each analysis.
    """

    step: float
    raw_bytes: int
    stored_bytes: int
    information: float
    changes: tuple[Change, ...]

    @property
    def ratio(self) -> float:
        """Raw bytes over stored bytes."""
        return self.raw_bytes / self.stored_bytes

    @property
    def distinguishable(self) -> bool:
        """Whether the change of any result is distinguishable."""
        return any(change.distinguishable for change in self.changes)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return {
            "step": self.step,
            "raw_bytes": self.raw_bytes,
            "stored_bytes": self.stored_bytes,
            "ratio": self.ratio,
            "information": self.information,
            "distinguishable": self.distinguishable,
            "changes": [change.to_dict() for change in self.changes],
        }


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Result of :func:`photon_gpu.choose`: size and changes of each step, and the recommended step.

    Attributes
    ----------
    source : str
    sample : str
        Part of the movie that was looked at.
    inventory : str
        Number of regions and spots in it.
    dtype : str
    noise : NoiseModel
    photons : float
        Mean light of the sample, photons per pixel and frame.
    steps : tuple of StepResult
        In rising order.
    skipped : dict
        Reason of each analysis that was not run.
    notes : tuple of str
    redraws, seed : int
    seconds : float
    """

    source: str
    sample: str
    inventory: str
    dtype: str
    noise: NoiseModel
    photons: float
    steps: tuple[StepResult, ...]
    skipped: dict[str, str]
    notes: tuple[str, ...] = ()
    redraws: int
    seed: int
    seconds: float

    @property
    def recommended(self) -> StepResult | None:
        """The largest step that, like all smaller ones, is not distinguishable; None if none is."""
        best = None
        for result in self.steps:
            if result.distinguishable:
                break
            best = result
        return best

    @property
    def advice(self) -> tuple[str, ...]:
        """Recommendation and reservations, in sentences."""
        best, lines = self.recommended, []
        if best is None:
            first = self.steps[0]
            lines.append(
                f"No step is recommended: even {first.step:g} changes {_named(first)}. Judge by the ratios, "
                "or store with layout='lossless'."
            )
        else:
            lines.append(
                f"Recommended: step {best.step:g}, {best.ratio:.2f} times smaller. It is the largest step "
                "whose changes another take of the scene would hide."
            )
            worse = next((one for one in self.steps if one.step > best.step), None)
            if worse is not None:
                lines.append(f"Step {worse.step:g} changes {_named(worse)}.")
        if self.photons < DARK_PHOTONS:
            kept = ", ".join(f"{100 * one.information:.0f} % at {one.step:g}" for one in self.steps)
            lines.append(
                f"The sample has {max(self.photons, 0.0):.2g} photons per pixel: there a step costs more. "
                f"Fisher information kept: {kept}."
            )
            if best is not None and best.step >= COARSE:
                lines.append("Below 3 photons, take a step under 1 if you will average over many pixels.")
        return (*lines, *self.notes)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        best = self.recommended
        return {
            "source": self.source,
            "sample": self.sample,
            "inventory": self.inventory,
            "dtype": self.dtype,
            "noise": asdict(self.noise),
            "photons": self.photons,
            "recommended_step": None if best is None else best.step,
            "recommended_ratio": None if best is None else best.ratio,
            "limit": LIMIT,
            "steps": [result.to_dict() for result in self.steps],
            "skipped": dict(self.skipped),
            "advice": list(self.advice),
            "notes": list(self.notes),
            "redraws": self.redraws,
            "seed": self.seed,
            "seconds": self.seconds,
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Cells of the table, with a head: step, size, ratio of each result; ``*`` is distinguishable."""
        names = [change.name for change in self.steps[0].changes]
        rows = [("step", "smaller", *names, "hidden by noise")]
        for result in self.steps:
            cells = [f"{one.ratio:.3f}{'*' if one.distinguishable else ' '}" for one in result.changes]
            verdict = "no" if result.distinguishable else "yes"
            rows.append((f"{result.step:g}", f"{result.ratio:.2f}", *cells, verdict))
        return rows

    def __str__(self) -> str:
        model = self.noise
        lines = [
            f"{self.source}: {self.sample}; {self.inventory}",
            f"gain {model.gain:.4g} ADU/photon, offset {model.offset:.4g} ADU, "
            f"{self.photons:.3g} photons per pixel",
            f"Change by storing over the difference of two takes; * is distinguishable (about {LIMIT:.2f}):",
        ]
        rows = self.rows()
        if len(rows[0]) > _MOST_COLUMNS:  # one line for each result
            rows = list(zip(*rows, strict=True))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += ["  " + "  ".join(map(str.rjust, row, widths)).rstrip() for row in rows]
        lines += [f"  {name}: skipped, {why}" for name, why in self.skipped.items()]
        return "\n".join([*lines, *self.advice])

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw size and changes of each step; save the figure if ``path`` is given."""
        from photon_gpu.tools.choice.plot import plot_choice

        return plot_choice(self, path)


def _named(result: StepResult) -> str:
    """Results that a step changes, each with its ratio of the table and the limit; three at most."""
    changed = [change for change in result.changes if change.distinguishable]
    named = [f"{one.name} (ratio {one.ratio:.3f}, limit {one.limit:.3f})" for one in changed[:3]]
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return ", ".join(named) + more
