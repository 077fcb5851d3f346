"""``photon-gpu watch``: a folder that fills with TIFFs into one movie."""

from __future__ import annotations

from typing import Annotated

import typer

from photon_gpu.cli import console, options, recording


def watch(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Where TIFFs arrive.", show_default=False)],
    dst: recording.Dst,
    pattern: Annotated[str, typer.Option(metavar="PATTERN", help="Names to take.")] = "*.tif*",
    settle_seconds: Annotated[
        float,
        typer.Option(
            parser=options.number,
            metavar="S",
            help="A file that did not change for so long, and opens, is complete.",
        ),
    ] = 1.0,
    idle_seconds: Annotated[
        float | None,
        typer.Option(
            parser=options.number,
            metavar="S",
            help="End when no file came for so long.",
            show_default="never: Ctrl-C ends it",
        ),
    ] = None,
    gain: recording.Gain = None,
    offset: recording.Offset = None,
    variance: recording.Variance = None,
    noise_from: recording.NoiseFrom = None,
    trust_noise: options.TrustNoise = False,
    step: recording.Step = 0.5,
    layout: recording.LayoutOption = "compact",
    preset: recording.Preset = "fast",
    chunk_frames: recording.ChunkFrames = None,
    durability: recording.Durability = "chunk",
    spool: recording.SpoolFolder = None,
    queue_bytes: recording.QueueBytes = 512e6,
    check: recording.Check = "on",
    backend: options.Backend = "auto",
    workers: options.Workers = None,
    storage_option: options.StorageOption = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> console.Report:
    """Record the TIFFs that arrive in a folder as one movie.

    They are taken in the order of their names. Each frame keeps the name of its file.
    TIFFs are only read, never changed or removed.
    Files that cannot be taken are named at the end, which is then 1.

    For example:
      photon-gpu watch /data/today run.zarr --gain 100 --offset 92 --idle-seconds 60
    """
    from photon_gpu.live.session import record
    from photon_gpu.live.watch import WatchFeed

    given = recording.writer_options(
        gain=gain,
        offset=offset,
        variance=variance,
        noise_from=noise_from,
        dst=dst,
        storage_option=storage_option,
        trust_noise=trust_noise,
        step=step,
        layout=layout,
        preset=preset,
        chunk_frames=chunk_frames,
        durability=durability,
        spool=spool,
        queue_bytes=queue_bytes,
        check=check,
        backend=backend,
        workers=workers,
    )
    feed = WatchFeed(folder, pattern=pattern, settle_seconds=settle_seconds, idle_seconds=idle_seconds)
    with recording.line() as tell:
        return record(feed, dst, tell=tell, **given)
