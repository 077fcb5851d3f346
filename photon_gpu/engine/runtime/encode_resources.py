"""Threads, stopwatch and memory that the encoding of a chunk may use."""

from __future__ import annotations

from dataclasses import dataclass, field

from photon_gpu.engine.runtime.buffers import Buffers
from photon_gpu.engine.runtime.pool import WHOLE, Split
from photon_gpu.engine.runtime.stopwatch import Stages


@dataclass(frozen=True)
class Resources:
    """Threads, stopwatch and memory for a call that encodes a chunk.

    Attributes
    ----------
    stages : Stages
        Stopwatch to which each stage of the work adds its time.
    split : Split
        How the work on the chunk is split if other chunks do not keep all threads busy.
    buffers : Buffers, optional
        Buffers for the result; the caller gives the buffer back. Without them the result is bytes.
    crc : list of int
        Receives the CRC-32 of the result if a device computed it.
    """

    stages: Stages = field(default_factory=Stages)
    split: Split = WHOLE
    buffers: Buffers | None = None
    crc: list[int] = field(default_factory=list)
