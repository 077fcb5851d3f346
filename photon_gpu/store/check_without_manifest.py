"""Check a chunk file without a manifest: it decodes completely, to values that this movie can hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart, Values
from photon_gpu.engine.layouts.compact import Compact
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.layouts.sealed_blosc_layout import SealedFrames
from photon_gpu.errors import CorruptDataError, PhotonError
from photon_gpu.store.metadata import Description


def decode_whole(data: bytes, number: int, description: Description) -> NDArray:
    """Decode a whole chunk file, run the checks that need a whole chunk, and return its frames.

    The frames are stabilized labels for layout ``plain``, and counts for the other layouts.
    """
    encoding, chunk = description.encoding, description.chunks
    layout = layout_for(encoding, get_backend())
    span = len(description.frames_of(number))
    if encoding.layout == "compact":
        counts = layout.decode(data, ChunkPart(chunk, 0, span, number=number), np.dtype(encoding.dtype))
        assert isinstance(layout, Compact)
        for header in layout.headers(data, chunk):
            if header.frames != span:
                raise CorruptDataError(f"it holds {header.frames} frames, not the {span} that belong there")
        return counts
    assert isinstance(layout, SealedFrames)
    layout.check_proof(data, number)
    what: Values = STABILIZED if encoding.layout == "plain" else np.dtype(encoding.dtype)
    whole = layout.decode(data, ChunkPart(chunk, number=number), what)
    beyond = whole[span:]
    if (
        beyond.size
        and (encoding.layout == "lossless" or encoding.step is not None)
        and _beyond(beyond, encoding)
    ):
        raise CorruptDataError("the padding of the last chunk is not zero")
    if encoding.layout == "plain":
        for one, labels in zip(layout.channels, layout.split(whole[:span]), strict=True):
            _check_reach(labels, one.encoding)
    return whole[:span]


def proves_itself(data: bytes, number: int, description: Description) -> bool:
    """Whether a chunk file by itself proves that it is whole, of this movie, and has the right number.

    Those of movies with an identity do: they hold it beside a checksum and a number.
    """
    if description.encoding.movie_id is None:
        return False
    try:
        decode_whole(data, number, description)
    except PhotonError:
        return False
    layout = layout_for(description.encoding, get_backend())
    if not isinstance(layout, Compact):
        return True  # its seal was checked
    return all(header.number and header.movie for header in layout.headers(data, description.chunks))


def _beyond(values: NDArray, encoding: Encoding) -> bool:
    """Whether the padding after the last frame is not zero; dithered zeros lie within a step of zero."""
    return bool((np.abs(values) > (encoding.step or 0) if encoding.phases > 1 else values != 0).any())


def _check_reach(labels: NDArray, encoding: Encoding) -> None:
    """Raise CorruptDataError if a label lies outside the range of the dtype."""
    dtype = np.dtype(encoding.dtype)
    if encoding.step is None or dtype.kind == "f" or dtype.itemsize > 2:
        return
    table, info = encoding.table(), np.iinfo(dtype)
    low, high = table.code(int(info.min)) - 1, table.code(int(info.max)) + 1
    if labels.min() < low * table.step or labels.max() > high * table.step:
        raise CorruptDataError(f"it holds labels that no value of {dtype.name} has")
