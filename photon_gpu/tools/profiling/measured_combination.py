"""Result of one measured combination of backend, layout, preset and cores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

STAGES = ("read", "transform", "predict", "upload", "kernel", "download", "gpu", "compress", "write")
_WAITING = ("read", "write")
_ALONE = ("read", "upload", "kernel", "download")  # Runs on one thread or one stream for any number of cores.
_BUSY = 0.8


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Measurement of one combination of backend, layout, preset and cores.

    ``seconds`` is wall time without tuning; ``stages`` are seconds of thread time.
    """

    backend: str
    layout: str
    preset: str
    cores: int
    frames: int
    raw_bytes: int
    stored_bytes: int
    seconds: float
    stages: dict[str, float]
    settings: str
    whole_chunks: bool = True
    """False if there was not enough time to encode one whole chunk."""

    @property
    def ratio(self) -> float:
        """Raw bytes over stored bytes."""
        return self.raw_bytes / self.stored_bytes

    @property
    def megabytes_per_second(self) -> float:
        """Raw megabytes (1e6) per second of wall time."""
        return self.raw_bytes / 1e6 / self.seconds

    def stage_rate(self, stage: str) -> float:
        """MB/s that a stage alone would reach on these cores: of stored bytes for ``write``, else of raw."""
        nbytes = self.stored_bytes if stage == "write" else self.raw_bytes
        lanes = 1 if stage in _ALONE else self.cores
        return nbytes / 1e6 * lanes / max(self.stages[stage], 1e-9)

    @property
    def limiting_stage(self) -> tuple[str, float]:
        """Return the limiting stage, and its share of all thread time.

        One thread reads, so reading is the limit if it takes most of the wall time. Waiting for the disk is
        no limit while the cores have other chunks to process.
        """
        whole = sum(self.stages.values())
        working = {name: spent for name, spent in self.stages.items() if name not in _WAITING}
        of = working if sum(working.values()) > _BUSY * self.cores * self.seconds else self.stages
        stage = max(of, key=lambda name: self.stages[name])
        if self.stages.get("read", 0.0) > _BUSY * self.seconds:
            stage = "read"
        return stage, self.stages[stage] / max(whole, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        stage, share = self.limiting_stage
        return {
            **asdict(self),
            "ratio": self.ratio,
            "megabytes_per_second": self.megabytes_per_second,
            "stage_megabytes_per_second": {s: self.stage_rate(s) for s in STAGES if s in self.stages},
            "held_back_by": stage,
            "held_back_share": share,
        }
