"""Compare the header of a chunk with the metadata of its store."""

from __future__ import annotations

from typing import Protocol

from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.clipping_levels import NO_CLIPPING, ClippingLevels
from photon_gpu.errors import CorruptDataError


class _Header(Protocol):
    """Fields of a header that the metadata of a store repeat, whatever read it."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def gain(self) -> float: ...
    @property
    def offset(self) -> float: ...
    @property
    def variance(self) -> float: ...
    @property
    def step(self) -> float: ...
    @property
    def exact(self) -> bool: ...
    @property
    def raw(self) -> bool: ...
    @property
    def clipping(self) -> ClippingLevels: ...
    @property
    def peaks(self) -> int: ...
    @property
    def phases(self) -> int: ...
    @property
    def seed(self) -> int: ...


def check_agreement(header: _Header, chunk: tuple[int, ...], encoding: Encoding) -> None:
    """Raise CorruptDataError unless the header of a chunk agrees with the metadata of its store."""
    noise = encoding.noise
    assert noise is not None
    expected = (
        tuple(chunk),
        encoding.dtype,
        noise.gain,
        noise.offset,
        noise.variance,
        encoding.step,
        encoding.exact and not header.raw,  # any chunk of a movie may hold raw values
        NO_CLIPPING if header.raw else encoding.clipping,
        0 if header.raw else encoding.peaks,
    )
    actual = (
        header.shape,
        header.dtype,
        header.gain,
        header.offset,
        header.variance,
        header.step,
        header.exact,
        header.clipping,
        header.peaks,
    )
    if expected != actual or (header.phases, header.seed) != (encoding.phases, encoding.seed):
        raise CorruptDataError(
            f"a chunk was encoded as {actual}, seed {header.seed}; its store says {expected}"
        )
