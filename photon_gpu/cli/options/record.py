"""Options that ``record`` and ``watch`` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_gpu.cli.options.encode import EncodeOptions, LayoutOption, Preset
from photon_gpu.cli.options.noise import NoiseFrom
from photon_gpu.cli.options.stored_movie import StorageOption, read_storage_options
from photon_gpu.cli.options.values import read_number
from photon_gpu.errors import InvalidInputError

if TYPE_CHECKING:
    from photon_gpu.encode_settings import RecordSettings

RecordCheck = Annotated[
    str,
    typer.Option(
        metavar="on|off",
        help="off: check nothing. on: compare a sample of the encoded chunks with the frames. If the check "
        "fails, DST is kept and marked as failing, and the exit code is 1.",
    ),
]

Durability = Annotated[
    str,
    typer.Option(
        metavar="frame|chunk",
        help="frame: each frame is synced to the spool's disk before it is acknowledged, so it survives a "
        "power cut. chunk: a whole chunk is acknowledged, once it is in the store or the spool.",
    ),
]

SpoolFolder = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder on a fast local disk that holds frames while the store cannot be reached.",
        show_default="with --durability frame: beside DST",
    ),
]

QueueBytes = Annotated[
    float,
    typer.Option(
        parser=read_number,
        metavar="BYTES",
        help="Memory for frames that wait to be encoded; if it is full, reading waits.",
        show_default="512e6",
    ),
]


@dataclass(frozen=True, kw_only=True)
class RecordOptions(EncodeOptions):
    """The options that ``record`` and ``watch`` share; most become the settings of a recording."""

    noise_from: NoiseFrom = None
    layout: LayoutOption = "compact"
    preset: Preset = "fast"
    check: RecordCheck = "on"
    durability: Durability = "chunk"
    spool: SpoolFolder = None
    queue_bytes: QueueBytes = 512e6
    storage_option: StorageOption = None

    def settings(self) -> RecordSettings:
        """Return the settings from the options of the command line."""
        from photon_gpu.encode_settings import RecordSettings

        if self.check not in ("on", "off"):
            raise typer.BadParameter(f"--check is {self.check!r}; allowed are on, off")
        typed = self._typed()
        for name in ("noise_from", "spool", "storage_option"):
            del typed[name]
        return RecordSettings(**typed)

    def for_writer(self, dst: str) -> dict[str, Any]:
        """Return the keywords for :meth:`photon_gpu.LiveWriter.with_settings`."""
        settings = self.settings()
        if settings.noise is not None and self.noise_from:
            raise InvalidInputError(
                "--noise-from and --gain, --offset, --variance are both given; give one of them"
            )
        return {
            "settings": settings,
            "noise": self.noise_from,
            "spool": self.spool,
            "storage_options": read_storage_options(self.storage_option, dst),
        }
