"""Compute CRC-32 with zlib-ng if imagecodecs has it, which is faster, else with zlib."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

_MANY = 1 << 12


def crc32(data: Any, value: int = 0) -> int:
    """CRC-32 of bytes, as :func:`zlib.crc32`.

    Parameters
    ----------
    data : bytes-like
        C-contiguous.
    value : int
        CRC of the preceding data.

    Raises
    ------
    BufferError
        The data are not contiguous.

    Examples
    --------
    >>> f"{crc32(b'123456789'):08x}"
    'cbf43926'
    """
    with memoryview(data) as view:
        if view.nbytes < _MANY or not view.c_contiguous:  # zlib refuses data that are not contiguous.
            return zlib.crc32(view, value)
        return _fast()(view.cast("B"), value)  # imagecodecs would copy an array.


@cache
def _fast() -> Callable[[Any, int], int]:
    try:
        import imagecodecs

        checksum: Callable[[Any, int], int] = imagecodecs.zlibng_crc32
        check = checksum(b"123456789", 0)
    except (ImportError, AttributeError):
        return zlib.crc32
    return checksum if check == 0xCBF43926 else zlib.crc32
