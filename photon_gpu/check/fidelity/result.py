"""Result of a fidelity report: lines, verdict, and ways to save and draw it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from photon_gpu.check.fidelity.figure_data import Pictures
from photon_gpu.check.fidelity.figures import overview
from photon_gpu.check.fidelity.html_page import page
from photon_gpu.check.fidelity.property_verdicts import ReportLine, verdict
from photon_gpu.check.warn_failed_checks import tally
from photon_gpu.errors import InvalidInputError
from photon_gpu.plots import save_figure
from photon_gpu.store.durable import replacing


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """Result of :func:`photon_gpu.fidelity`.

    Attributes
    ----------
    verdict : {"PASS", "WARN", "FAIL"}
        Worst status of all lines.
    lines : tuple of ReportLine
    source, url : str
    facts : dict
        Shape, dtype, noise model, step, layout, sizes, extent of the sample.
    seconds : float
    """

    source: str
    url: str
    lines: tuple[ReportLine, ...]
    facts: dict[str, Any]
    seconds: float
    pictures: Pictures | None = field(default=None, repr=False, compare=False)

    @property
    def verdict(self) -> str:
        """Worst status of all lines."""
        return verdict(self.lines)

    @property
    def ok(self) -> bool:
        """Whether no line failed."""
        return self.verdict != "FAIL"

    def __getitem__(self, name: str) -> ReportLine:
        for line in self.lines:
            if line.name == name:
                return line
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values, which ``--json`` prints."""
        return {
            "verdict": self.verdict,
            "source": self.source,
            "url": self.url,
            **self.facts,
            "lines": [line.to_dict() for line in self.lines],
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        looked_at = self.facts["looked_at"]
        head = f"{self.verdict} ({tally(self.lines)}): {self.url} against {self.source}, {looked_at}"
        if truncated := self.facts.get("truncated"):
            head += f"\n  note: {truncated}"
        return "\n".join([head, *(f"  {line}" for line in self.lines)])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save the report as ``.html`` (one page that needs no network), ``.png`` or ``.json``.

        An error, such as a full disk, leaves an earlier report unchanged.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix == ".json":
            data = (json.dumps(self.to_dict(), indent=2) + "\n").encode()
        elif suffix in (".html", ".htm"):
            data = page(self).encode()
        elif suffix == ".png":
            save_figure(overview(self), target, dpi=110, bbox_inches="tight", pad_inches=0.25)
            return target
        else:
            raise InvalidInputError(
                f"a report cannot be saved as {target.name}; allowed are .html, .png and .json"
            )
        with replacing(target) as file:
            file.write(data)
        return target
