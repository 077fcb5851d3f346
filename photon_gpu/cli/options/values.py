"""Read the values of options from their text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from photon_gpu.errors import InvalidInputError


def read_number(text: str) -> float:
    """Read a number; raise an error that quotes the text if it is none."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


def read_numbers(text: str) -> float | tuple[float, ...]:
    """Read a number, or several separated by commas, one per channel."""
    values = tuple(read_number(part) for part in text.split(","))
    return values if len(values) > 1 else values[0]


def read_whole(text: str) -> int:
    """Read a whole number; raise an error that quotes the text if it is none."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number") from None


def read_whole_or_auto(text: str) -> int | str:
    """Read a whole number, or ``auto``; raise an error that quotes the text if it is neither."""
    return text if text == "auto" else read_whole(text)


# For these options "123" stays a text: they are names, or open a store.
_TEXTS = ("key", "secret", "token", "password", "username", "user", "dataset", "path", "shape", "dtype")


def pairs(texts: Sequence[str] | None, option: str) -> dict[str, Any]:
    """Read ``KEY=VALUE`` strings as a dictionary; true, false, null, numbers, {...} and [...] as in JSON.

    Examples
    --------
    >>> pairs(["anon=true", "port=9000", "secret=123"], "--storage-option")
    {'anon': True, 'port': 9000, 'secret': '123'}
    """
    values: dict[str, Any] = {}
    for pair in texts or ():
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise InvalidInputError(
                f"{option} {key!r} has no value; KEY=VALUE is needed, as in {option} dataset=/data"
            )
        if key in values:
            raise InvalidInputError(f"{option} has {key!r} twice; give it once")
        values[key] = text if key in _TEXTS else _value(text)
    return values


def _value(text: str) -> Any:
    if text[:1] in ("{", "[") or text in ("true", "false", "null") or text.lstrip("-").isdigit():
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def json_file(path: str) -> dict[str, Any]:
    """Read a JSON object from a file; raise an error that names the file if that fails."""
    try:
        value = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"{path} holds a JSON {type(value).__name__}; an object is needed")
    return value
