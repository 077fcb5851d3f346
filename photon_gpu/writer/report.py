"""Report of an encode: sizes, times and choices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from photon_gpu.engine.codec.encoding import Encoding, noise_of_channels
from photon_gpu.engine.model.noise import noise_floor_bits


@dataclass(frozen=True, kw_only=True)
class EncodeReport:
    """Sizes, times and choices of one encode.

    ``seconds`` is wall time without ``compile_seconds``; ``stages`` are seconds of thread
    time, so on several cores they add up to more than ``seconds``.
    """

    source: str
    url: str
    shape: tuple[int, ...]
    encoding: Encoding
    preset: str
    chunk_frames: int
    raw_bytes: int
    stored_bytes: int
    seconds: float
    compile_seconds: float
    stages: dict[str, float]
    backend: str
    why: str
    workers: int
    notes: tuple[str, ...] = field(default=())
    checked: str = ""
    checks: tuple[dict[str, Any], ...] = field(default=())

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the failed lines of the check."""
        return tuple(line["name"] for line in self.checks if line["status"] == "FAIL")

    @property
    def passed(self) -> bool | None:
        """Whether the check passed; None if the movie was not checked."""
        return not self.failed if self.checked else None

    @property
    def exit_code(self) -> int:
        """Exit code of the command line: 1 if the check failed."""
        return 1 if self.failed else 0

    @property
    def ratio(self) -> float:
        """Raw bytes over stored bytes."""
        return self.raw_bytes / self.stored_bytes

    @property
    def megabytes_per_second(self) -> float:
        """Raw megabytes (1e6) encoded per second of wall time."""
        return self.raw_bytes / 1e6 / max(self.seconds, 1e-9)

    @property
    def bits_per_pixel(self) -> float:
        """Stored bits per sample."""
        return 8.0 * self.stored_bytes / math.prod(self.shape)

    @property
    def above_floor_percent(self) -> float | None:
        """Size above the noise floor, in per cent of the floor; None if nothing is quantized."""
        step = self.encoding.step
        return None if step is None else 100.0 * (self.bits_per_pixel / noise_floor_bits(step) - 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values, which ``--json`` prints."""
        encoding = self.encoding
        out = {key: value for key, value in asdict(self).items() if key != "encoding"}
        out["shape"], out["notes"], out["checks"] = list(self.shape), list(self.notes), list(self.checks)
        out.update(
            layout=encoding.layout,
            dtype=encoding.dtype,
            noise=encoding.noise.to_dict() if encoding.noise else None,
            **({"channel_noise": noise_of_channels(encoding)} if encoding.channels else {}),
            step=encoding.step,
            dither=encoding.dither,
            peaks=encoding.peaks,
            predictor=encoding.predictor.to_dict(),
            exact=encoding.exact,
            passed=self.passed,
            failed=list(self.failed),
            compressor=encoding.compressor.to_dict(),
            ratio=self.ratio,
            megabytes_per_second=self.megabytes_per_second,
            bits_per_pixel=self.bits_per_pixel,
            above_floor_percent=self.above_floor_percent,
        )
        return out

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each line of the table."""
        encoding = self.encoding
        rows = [
            ("movie", f"{' x '.join(map(str, self.shape))} {encoding.dtype}"),
            ("stored as", f"{encoding.layout} at {self.url}"),
            ("raw", f"{self.raw_bytes:,} bytes"),
            ("stored", f"{self.stored_bytes:,} bytes"),
            ("ratio", f"{self.ratio:.2f}"),
            ("bits per pixel", f"{self.bits_per_pixel:.2f}"),
        ]
        if self.above_floor_percent is not None:
            rows.append(("above the noise floor", f"{self.above_floor_percent:+.1f} %"))
        rows.append(("time", f"{self.seconds:.2f} s ({self.megabytes_per_second:,.0f} MB/s)"))
        if self.compile_seconds >= 0.01:
            rows.append(("compiling, once", f"{self.compile_seconds:.2f} s"))
        if encoding.peaked:
            rows.append(("in the dark", encoding.peaks_by_channel))
        rows += [
            ("by", encoding.by),
            ("backend", f"{self.backend} ({self.why}), {self.workers} threads"),
        ]
        rows += [("checked", self.checked)] if self.checked else []
        rows += failed_rows(self.checks)
        return rows + [("note", note) for note in self.notes]

    def __str__(self) -> str:
        return in_columns(self.rows())


def failed_rows(checks: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """One row of a report for each failed line of a check."""
    return [("FAIL", f"{line['title']}: {line['found']}") for line in checks if line["status"] == "FAIL"]


def in_columns(rows: Sequence[tuple[str, str]]) -> str:
    """Format the rows of a report as text: names in one column, values in the next.

    >>> print(in_columns([("ratio", "5.2"), ("stored as", "compact")]))
    ratio      5.2
    stored as  compact
    """
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def pyramid_note(levels: Mapping[str, Sequence[Any]], raw_bytes: int, stored_bytes: int) -> str | None:
    """Return a note on the size of pyramid levels, which the sizes of a report include; None without any.

    >>> pyramid_note({"1/c/0/0/0": [250, "0f33e2d5"]}, 4000, 1250)
    'pyramid levels take 250 of the stored bytes, which all sizes here count; without them the ratio is 4.00'
    """
    size = sum(size for size, _ in levels.values())
    if not size:
        return None
    ratio = raw_bytes / (stored_bytes - size)
    return (
        f"pyramid levels take {size:,} of the stored bytes, which all sizes here count; without them the "
        f"ratio is {ratio:.2f}"
    )


def little_light(mean: float, encoding: Encoding) -> str | None:
    """Return a note if the labels of layout plain are coarse for the light of a movie, else None."""
    noise = encoding.noise
    if encoding.layout != "plain" or noise is None or not np.isfinite(mean) or noise.photons(mean) >= 5.0:
        return None
    return (
        f"about {max(noise.photons(mean), 0.0):.1f} photons per pixel: below 5, labels of plain are "
        f"up to 0.14 sigma "
        "off where photons are resolved (movie.counts is not); layout 'compact' or 'lossless' may be smaller"
    )
