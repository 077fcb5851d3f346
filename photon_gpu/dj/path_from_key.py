"""Compute the path of a row's movie from its primary key.

The path is ``{prefix}/{schema}/{table}/{attribute}={value}/.../{field}.zarr``.
Each part is percent-encoded (RFC 3986), so two keys never share a path and no key
leaves its table's folder. ``~`` is encoded in values, so it can mark parts that
were shortened.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

import numpy as np

from photon_gpu.errors import InvalidInputError
from photon_gpu.store.destination import DEVICES

#: Longest folder name, in bytes: what ext4, XFS, APFS and NTFS allow.
FOLDER_BYTES = 255
#: Longest key part of a path, in bytes: S3 and GCS end a whole object name at 1024.
KEY_BYTES = 512


def encode_value(value: Any) -> str:
    """Encode one primary-key value as the text after ``attribute=``.

    Values that are equal to a database give the same text whatever their Python type:
    a date and its string, ``True`` and 1, a NumPy integer and an int.

    Parameters
    ----------
    value : object
        Value in the row: int, str, date, datetime (to the microsecond),
        Decimal, UUID, bytes, ...

    Returns
    -------
    str
        ASCII letters, digits, ``-._`` and ``%XX`` only; may be empty.

    Examples
    --------
    >>> encode_value("data/raw.tif")
    'data%2Fraw.tif'
    >>> encode_value("data%2Fraw.tif")
    'data%252Fraw.tif'
    >>> encode_value(datetime(2024, 1, 15, 10, 0, 0, 250_000))
    '2024-01-15%2010%3A00%3A00.250000'
    """
    if value is None:
        raise InvalidInputError("a primary key value is None; a key attribute must have a value")
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
    elif isinstance(value, datetime):
        raw = str(value).encode()
    elif isinstance(value, date):
        raw = value.isoformat().encode()
    else:
        raw = str(value).encode("utf-8", "surrogatepass")
    return _portable(quote(raw, safe="").replace("~", "%7E"))


def key_path(key: Mapping[str, Any]) -> str:
    """Encode a primary key as nested folders, in the key's order.

    A part too long for a folder name is cut, and ends in ``~`` and the SHA-256 of the whole part.
    A key too long for an object store becomes one such folder.

    Examples
    --------
    >>> key_path({"recording_id": 42})
    'recording_id=42'
    >>> key_path({"subject_id": 10, "session_date": "2024-01-15"})
    'subject_id=10/session_date=2024-01-15'
    """
    parts = [f"{quote(name, safe='')}={encode_value(value)}" for name, value in key.items()]
    joined = "/".join(_fit(part) for part in parts)
    if len(joined) <= KEY_BYTES:
        return joined
    return _shorten("/".join(parts).replace("/", "_"), "/".join(parts))


def movie_path(
    schema: str,
    table: str,
    key: Mapping[str, Any],
    field: str,
    *,
    prefix: str = "",
    partition: str | None = None,
    token: str | None = None,
) -> str:
    """Compute the path of a row's movie, relative to its store.

    Parameters
    ----------
    schema, table, field : str
        Their names in the database.
    key : mapping
        Primary key of the row, in the table's order; empty if DataJoint does not pass it.
    prefix : str
        The store's ``schema_prefix``; ``""`` for stores set up by :func:`photon_gpu.dj.stores`.
    partition : str, optional
        The store's ``partition_pattern``: attributes named in it go before the schema.
    token : str, optional
        Random suffix, for a movie whose usual path is in use.

    Examples
    --------
    >>> movie_path("calcium_imaging", "recording", {"recording_id": 42}, "movie")
    'calcium_imaging/recording/recording_id=42/movie.zarr'
    """
    ahead = [name for name in re.findall(r"\{(\w+)\}", partition or "") if name in key]
    parts = [
        *(part for part in prefix.split("/") if part),
        key_path({name: key[name] for name in ahead}),
        table_path(schema, table),
        key_path({name: value for name, value in key.items() if name not in ahead}),
        f"{_unreserved(quote(field, safe=''))}{'_' + token if token else ''}.zarr",
    ]
    return "/".join(part for part in parts if part)


def table_path(schema: str, table: str) -> str:
    """Folder of a table. The ``#`` of a lookup table is encoded, since it would end a URL.

    Examples
    --------
    >>> table_path("lab", "#probe")
    'lab/%23probe'
    """
    return f"{folder_name(schema)}/{folder_name(table)}"


def folder_name(name: str) -> str:
    """Encode the name of a schema or table as a folder name.

    Examples
    --------
    >>> folder_name("__computed"), folder_name(".."), folder_name("a/b")
    ('__computed', '%2E%2E', 'a%2Fb')
    """
    encoded = quote(name, safe="")
    # quote() leaves dots alone, and a bare ".." would climb out of the store.
    return encoded.replace(".", "%2E") if set(encoded) == {"."} else _portable(_unreserved(encoded))


def _portable(text: str) -> str:
    """Encode a dot at the end, which Windows leaves out: two keys would share a folder."""
    return f"{text[:-1]}%2E" if text.endswith(".") else text


def _unreserved(name: str) -> str:
    """Encode the first letter of a name that Windows keeps for devices, whatever its suffix."""
    return f"%{ord(name[0]):02X}{name[1:]}" if DEVICES.fullmatch(name) else name


def _fit(part: str) -> str:
    return part if len(part) <= FOLDER_BYTES else _shorten(part, part)


def _shorten(readable: str, whole: str) -> str:
    tail = "~" + hashlib.sha256(whole.encode()).hexdigest()
    return re.sub(r"%.?$", "", readable[: FOLDER_BYTES - len(tail)]) + tail
