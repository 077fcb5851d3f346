"""Result of a verification: problems and lost frames, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from photon_gpu.store.metadata import CHECK, failed_check


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem of a stored movie.

    Attributes
    ----------
    kind : str
        ``missing``: the file does not exist. ``truncated``: it is shorter than written. ``altered``: its
        bytes differ from those written. ``mismatched``: it is whole, but contradicts another file or has the
        content of another file. ``extra``: it is not part of the movie. ``unreadable``: the store reported an
        error. ``unfinished``: a writer's marker exists. ``lost``: frames are recorded as lost and read as
        zeros. ``failing``: the check during the encode failed.
    name : str
        Name of the file, or of the first and last of several missing files.
    detail : str
    frames : tuple of int or None
        First and last frame lost.
    every_frame : bool
        Whether no frame of the movie can be trusted.
    """

    kind: str
    name: str
    detail: str
    frames: tuple[int, int] | None = None
    every_frame: bool = False

    def __str__(self) -> str:
        lost = f"; loses frames {frames_text([self.frames])}" if self.frames else ""
        if self.every_frame:
            lost = "; no frame can be trusted until it is restored"
        return f"{self.kind:<10}  {self.name}: {self.detail}{lost}"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Result of :func:`photon_gpu.verify`.

    Attributes
    ----------
    url : str
    layout : str or None
    shape : tuple of int or None
        None if no readable file states it.
    files, chunks : int
        Files found, and chunk files checked.
    nbytes : int
        Bytes read.
    by : str
        ``"manifest"``, ``"decoding"``, ``"manifest and decoding"`` or ``"names alone"``.
    problems : tuple of Problem
    notes : tuple of str
        Parts that could not be checked, and why.
    seconds : float
    """

    url: str
    layout: str | None
    shape: tuple[int, ...] | None
    files: int
    chunks: int
    nbytes: int
    by: str
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    @property
    def lost(self) -> tuple[tuple[int, int], ...]:
        """First and last frame of every run of lost frames, in order."""
        return merge(problem.frames for problem in self.problems if problem.frames is not None)

    @property
    def frames_lost(self) -> int:
        """Number of lost frames."""
        return sum(last - first + 1 for first, last in self.lost)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values, which ``--json`` prints."""
        return {
            "url": self.url,
            "ok": self.ok,
            "layout": self.layout,
            "shape": list(self.shape) if self.shape else None,
            "files": self.files,
            "chunks": self.chunks,
            "bytes": self.nbytes,
            "checked_by": self.by,
            "problems": [
                {
                    "kind": p.kind,
                    "name": p.name,
                    "detail": p.detail,
                    "frames": list(p.frames) if p.frames else None,
                    "every_frame": p.every_frame,
                }
                for p in self.problems
            ],
            "lost": [list(run) for run in self.lost],
            "frames_lost": self.frames_lost,
            "notes": list(self.notes),
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        title = f"{self.layout} movie of {self.shape[0]:,} frames" if self.shape else "movie of unknown shape"
        speed = f"{self.nbytes / 1e6:,.1f} MB in {self.seconds:.2f} s"
        lines = [f"{self.url}: {title}, {self.files} files, checked by {self.by} ({speed})"]
        lines += [f"  {problem}" for problem in self.problems]
        lines += [f"  note        {note}" for note in self.notes]
        lines.append(f"  {self._verdict()}")
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.ok:
            fact = "every file is what was written" if "manifest" in self.by else "every chunk decodes"
            return f"whole: {fact}"
        if all(problem.kind == "failing" for problem in self.problems):
            return (
                "whole, but it fails its own check: encode the source again, or compare with "
                "photon-gpu report"
            )
        if not self.lost:
            every = any(problem.every_frame for problem in self.problems)
            return "lost: every frame" if every else "no frame is lost"
        of = f"{self.shape[0]:,}" if self.shape else "?"
        return f"lost: {self.frames_lost:,} of {of} frames: {frames_text(self.lost)}"


def salvaged(attributes: dict[str, Any], shape: tuple[int, ...]) -> list[Problem]:
    """Return a problem for each range of lost frames, which a recovery or the source did not have.

    >>> [str(p) for p in salvaged({"lost_frames": [[3, 5]]}, (9, 4, 4))]
    ['lost        lost_frames: zeros stand in their place since they were stored; loses frames 3 to 4']
    """
    frame_ranges = attributes.get("lost_frames", [])
    problems = []
    for span in frame_ranges if isinstance(frame_ranges, list) else [None]:
        frames = None
        if isinstance(span, list) and len(span) == 2 and all(type(end) is int for end in span):
            first, last = max(span[0], 0), span[1] - 1
            if first > last:
                continue
            frames = (first, last)
        detail = f"not ranges: {str(span)[:80]}"
        if frames:
            detail = "zeros stand in their place since they were stored"
            if frames[1] >= shape[0]:
                detail = f"they had been acknowledged, and the movie ends after {shape[0]:,} frames"
        problems.append(Problem(kind="lost", name="lost_frames", detail=detail, frames=frames))
    return problems


def failing(attributes: dict[str, Any]) -> list[Problem]:
    """Return the failed check of the encode as a problem; the files are whole.

    >>> [str(p) for p in failing({"fidelity_check": {"failed": [{"name": "snr", "found": "44 % lost"}]}})]
    ['failing     fidelity_check: it failed its check when it was stored: snr (44 % lost)']
    """
    failed = [f"{name} ({measured})" for name, measured in failed_check(attributes).items()]
    detail = f"it failed its check when it was stored: {'; '.join(failed)}"
    return [Problem(kind="failing", name=CHECK, detail=detail)] if failed else []


def frames_text(runs: Iterable[tuple[int, int]]) -> str:
    """Return runs of frames as text.

    >>> frames_text([(0, 9), (30, 30)])
    '0 to 9, 30'
    """
    return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in runs)


def merge(runs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return runs in order, joined if they touch or overlap.

    >>> merge([(5, 9), (0, 4), (20, 29)])
    ((0, 9), (20, 29))
    """
    out: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return tuple(out)
