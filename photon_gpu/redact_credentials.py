"""Hide passwords, tokens and signatures in all texts that leave the process.

:class:`photon_gpu.PhotonError`, :class:`photon_gpu.PhotonWarning`, the names of sources and stores, and the
command line pass their texts through :func:`without_credentials`.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote

_NAMES = (
    r"secret|token|passw|pwd\b|signature|credential|authorization|access[_-]?key|account[_-]?key|api[_-]?key"
    r"|connection[_-]?string|\bsig\b"
)
_NAME = re.compile(_NAMES, re.IGNORECASE)

_PATTERNS = (
    (r"(?<=://)([^/@:\s]*):[^/\s]*@", r"\1:***@"),
    (r"(https?://)[^/@:\s]+@", r"\1***@"),  # a token in place of user and password
    # A quote ends a query only if it closes a quoted URL.
    (r"(https?://[^\s?\"<>]*)\?(?:[^\s\"<>']|'(?=[^\s,;:)\]}]))+", r"\1?***"),
    (r"(authorization:\s*)[^\r\n]+", r"\1***"),
    (rf"((?:{_NAMES})\w*(?:\s*=\s*|[\"']\s*[:=]\s*)b?[\"']?)[^\s\"'&,;)]+", r"\1***"),
    (r"((?:passw\w*|secret\w*):\s+)[^\s\"'&,;)]+", r"\1***"),
)
_COMPILED = [(re.compile(pattern, re.IGNORECASE), replacement) for pattern, replacement in _PATTERNS]
_SHORTEST = 8  # characters of a remembered secret; shorter texts occur in ordinary words

_remembered: set[str] = set()


def without_credentials(text: str) -> str:
    """Hide passwords, HTTP query strings (which hold signatures) and values of secret options in a text.

    >>> without_credentials("cannot reach https://me:secret@host/run.zarr?X-Amz-Signature=0ab, try later")
    'cannot reach https://me:***@host/run.zarr?*** try later'
    >>> without_credentials("no bucket for secret='hunter2'")
    "no bucket for secret='***'"
    """
    for secret in _remembered:
        text = text.replace(secret, "***")
    for pattern, replacement in _COMPILED:
        text = pattern.sub(replacement, text)
    return text


def remember(url: object, options: object = None) -> None:
    """Remember the secrets of a URL and of options, so that they are hidden in all texts.

    >>> remember("memory://x", {"client_kwargs": {"auth_token": "correct-horse"}})
    >>> without_credentials("the server does not know correct-horse")
    'the server does not know ***'
    """
    if isinstance(url, str):
        for match in re.finditer(r"://[^/@:\s]*:([^/\s]*)@", url):
            _add(match[1])
            _add(unquote(match[1]))
        for match in re.finditer(r"[?&]([^=&#\s]+)=([^&#\s]+)", url):
            if _NAME.search(match[1]):
                _add(match[2])
                _add(unquote(match[2]))
    if isinstance(options, dict):
        for name, value in options.items():
            if isinstance(value, dict):
                remember(None, value)
            elif isinstance(value, str) and (name == "key" or _NAME.search(str(name))):
                _add(value)
                _add(quote(value, safe=""))


def _add(secret: str) -> None:
    if len(secret) >= _SHORTEST:
        _remembered.add(secret)


def mask_error(error: BaseException | None) -> None:
    """Hide credentials in the texts of another library's error, and of the errors that caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        masked = masked_arguments(error.args)
        if masked != error.args:
            error.args = masked
        error = error.__cause__ or error.__context__


def masked_arguments(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments of an exception, with credentials hidden in texts."""
    return tuple(without_credentials(arg) if isinstance(arg, str) else arg for arg in args)
