"""Compute the movie identity that chunks hold (FORMAT.md, "Which chunk a payload is").

It depends only on the movie and its settings, and is computed before the first chunk is encoded. So the same
movie gives the same store on one machine, on a cluster, and when it is encoded again.
"""

from __future__ import annotations

import hashlib
import json

from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.store import metadata
from photon_gpu.writer.compression_tuning import EncodingChoice


def identified(
    choice: EncodingChoice, shape: tuple[int, ...], chunks: tuple[int, ...], backend: Backend
) -> Encoding:
    """Add the movie identity, computed from the metadata and a sample of the movie, to an encoding."""
    layout = layout_for(choice.encoding, backend)
    array, attributes = metadata.array_of(shape, chunks, layout), metadata.attributes_of(layout)
    return choice.encoding.but(movie_id=_digest(json.dumps([array, attributes, choice.sample_crc])))


def recorded(encoding: Encoding, token: str) -> Encoding:
    """Add the identity of the recording with this token to an encoding.

    Examples
    --------
    >>> from photon_gpu.engine.model.noise import NoiseModel
    >>> recorded(Encoding(layout="compact", noise=NoiseModel()), "7f").movie_id
    '66f09da9'
    """
    return encoding.but(movie_id=_digest(token))


def _digest(text: str) -> str:
    digits = hashlib.sha256(text.encode()).hexdigest()[:8]
    return digits if int(digits, 16) else "00000001"  # Zero means unknown.
