"""Collect messages of errors that are longer than a user reads, while tests run.

A message may have 300 characters, without the folders of paths, which tests make long, and with words of at
most 60 characters, as names of files in labs have.
"""

from __future__ import annotations

import re
from typing import Any

from photon_gpu.errors import PhotonError

LONGEST = 300
_FOLDERS = re.compile(r"(?:\b\w+:/)?(?:/[^\s/'\",:;()]+)+/")
_LONG_WORD = re.compile(r"\S{61,}")

TOO_LONG: list[str] = []
"""Messages that are too long."""

_init = PhotonError.__init__


def realistic(text: str) -> str:
    """Return a message as it would be with the short paths and names of a user.

    >>> realistic("/tmp/pytest-of-user/run_0/movie.zarr: it is not there")
    'movie.zarr: it is not there'
    """
    return _LONG_WORD.sub(lambda word: word[0][:60], _FOLDERS.sub("", text))


def watch() -> None:
    """Collect the messages of all errors that are made from now on."""

    def init(self: PhotonError, *args: Any) -> None:
        _init(self, *args)
        if self.args and isinstance(text := self.args[0], str) and len(realistic(text)) > LONGEST:
            TOO_LONG.append(f"{len(realistic(text))} characters: {text}")

    PhotonError.__init__ = init  # type: ignore[method-assign]
