"""Keep the attributes of an xarray object, and of its coordinates, as a document."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

from photon_gpu.recording import Document, Recording

ATTRIBUTES = "xarray/attributes.json"
"""Document of the attributes of an xarray object."""

_MOST_VALUES = 10_000  # values of the largest array that is kept as JSON


def with_attributes(
    recording: Recording, own: Mapping[Any, Any], coordinates: Mapping[str, Mapping[Any, Any]]
) -> Recording:
    """Add the attributes that JSON can hold to a recording as a document; name the others as not kept.

    Arrays become lists; dates, and numbers that are not finite, become texts.

    Examples
    --------
    >>> from photon_gpu.recording import NOTHING
    >>> read = with_attributes(NOTHING, {"laser": np.int64(920), "raw": object()}, {"t": {"units": "s"}})
    >>> read.documents[0].text, read.not_kept
    ('{"attrs": {"laser": 920}, "coords": {"t": {"units": "s"}}}', ("attribute 'raw' (object)",))
    """
    not_kept: list[str] = []

    def kept(attributes: Mapping[Any, Any], of: str) -> dict[str, Any]:
        values = {}
        for name, value in attributes.items():
            try:
                values[str(name)] = _plain(value)
            except (TypeError, RecursionError):
                not_kept.append(f"attribute {str(name)!r}{of} ({type(value).__name__})")
        return values

    content: dict[str, Any] = {"attrs": kept(own, "")}
    each = {name: kept(attributes, f" of {name!r}") for name, attributes in coordinates.items()}
    content["coords"] = {name: attributes for name, attributes in each.items() if attributes}
    content = {name: part for name, part in content.items() if part}
    if not content and not not_kept:
        return recording
    document = Document(name=ATTRIBUTES, media_type="application/json", data=json.dumps(content).encode())
    return recording.replace(
        documents=(*recording.documents, *([document] if content else [])),
        not_kept=(*recording.not_kept, *not_kept),
    )


def _plain(value: Any) -> Any:
    """Convert to what JSON holds; raise TypeError where that is not possible."""
    if isinstance(value, np.ndarray | np.generic):
        if value.size > _MOST_VALUES:
            raise TypeError
        return _plain((value.astype(str) if value.dtype.kind in "mM" else value).tolist())
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, date) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    if isinstance(value, str | int | float | None):
        return value
    raise TypeError
