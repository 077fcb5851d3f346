"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_gpu.errors import InvalidInputError

if TYPE_CHECKING:
    from photon_gpu.engine.model.noise import NoiseModel

RUNNING = "Running"
"""Panel, in the help of a command, of the options that all commands have."""


def number(text: str) -> float:
    """A number, or an error that names what arrived."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number") from None


def whole(text: str) -> int:
    """A whole number, or an error that names what arrived."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no whole number") from None


Movie = Annotated[
    str, typer.Argument(metavar="MOVIE", help="Folder of a stored movie, or its URL.", show_default=False)
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        metavar="",
        help="Replace what is there; the old goes once the new one is whole.",
        rich_help_panel=RUNNING,
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        metavar="auto|numba|cupy|numpy",
        help="What computes: the CPU, a GPU, or slow NumPy.",
        rich_help_panel=RUNNING,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        parser=whole, metavar="N", help="Threads.", show_default="one per core", rich_help_panel=RUNNING
    ),
]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="For a store behind a URL, passed to fsspec. Repeat it. Keep passwords out of it: the "
        "environment and ~/.aws are read as usual.",
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
SourceOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="For SRC: dataset=/data (HDF5), path=raw (Zarr), key=arr_0 (.npz), series=1 (TIFF), "
        "as_pages=true "
        "(TIFF), missing=zero (frames that SRC lacks become zeros, and are recorded as lost); for a URL also "
        "what fsspec takes. Repeat it.",
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
TrustNoise = Annotated[
    bool,
    typer.Option(
        "--trust-noise",
        metavar="",
        help="Take --gain, --offset and --variance as they are, even if the movie's own noise "
        "contradicts them.",
    ),
]
TriedGain = Annotated[
    float | None,
    typer.Option(
        parser=number,
        metavar="ADU/PHOTON",
        help="Of a file that is tried: its gain.",
        show_default="estimated from it",
    ),
]
TriedOffset = Annotated[
    float | None,
    typer.Option(
        parser=number,
        metavar="ADU",
        help="Of a file that is tried: value in the dark.",
        show_default="with --gain: 0",
    ),
]
TriedVariance = Annotated[
    float | None,
    typer.Option(
        parser=number,
        metavar="ADU^2",
        help="Of a file that is tried: variance in the dark.",
        show_default="with --gain: 0",
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        metavar="",
        help="Print one JSON object on stdout, and nothing else; errors as one on stderr.",
        rich_help_panel=RUNNING,
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", metavar="", help="On an error, print where it came from.", rich_help_panel=RUNNING
    ),
]

# Of these "123" is a text: names of things, and what opens a store.
_TEXTS = ("key", "secret", "token", "password", "username", "user", "dataset", "path")


def pairs(given: Sequence[str] | None, option: str) -> dict[str, Any]:
    """``KEY=VALUE`` strings as a dictionary; true, false, null, numbers, {...} and [...] as in JSON.

    Examples
    --------
    >>> pairs(["anon=true", "port=9000", "secret=123"], "--storage-option")
    {'anon': True, 'port': 9000, 'secret': '123'}
    """
    found: dict[str, Any] = {}
    for pair in given or ():
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise InvalidInputError(
                f"{option} is {pair!r}; KEY=VALUE is needed, as in {option} dataset=/data"
            )
        if key in found:
            raise InvalidInputError(f"{option}: {key!r} was given twice")
        found[key] = text if key in _TEXTS else _value(text)
    return found


def storage_options(given: Sequence[str] | None, url: str) -> dict[str, Any] | None:
    """What ``--storage-option`` says; None for a local folder, where it has no effect."""
    found = pairs(given, "--storage-option")
    return found if is_remote(url) else None


def noise_model(gain: float | None, offset: float | None, variance: float | None) -> NoiseModel | None:
    """The model that was stated; None where none was."""
    from photon_gpu.engine.model.noise import NoiseModel

    given = {"gain": gain, "offset": offset, "variance": variance}
    known = {name: value for name, value in given.items() if value is not None}
    if known and gain is None:
        raise InvalidInputError(
            f"--{' and --'.join(known)} without --gain; give --gain too (1 for a photon counter), or "
            f"none of the "
            "three: then all are estimated"
        )
    return NoiseModel(**known) if known else None


def for_source(src: str, given: Sequence[str] | None) -> dict[str, Any]:
    """What ``--source-option`` says, as :func:`photon_gpu.open_source` takes it."""
    found = pairs(given, "--source-option")
    if not is_remote(src):
        return found
    inside = {name: found.pop(name, None) for name in ("path", "missing")}
    return {**inside, "storage_options": found or None}


def json_file(path: str) -> dict[str, Any]:
    """A JSON object in a file, or an error that names the file."""
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidInputError(f"{path} holds a JSON {type(found).__name__}; an object is needed")
    return found


def _value(text: str) -> Any:
    if text[:1] in ("{", "[") or text in ("true", "false", "null") or text.lstrip("-").isdigit():
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def is_remote(url: str) -> bool:
    """Whether storage options mean anything there."""
    return "://" in url and not url.startswith(("file://", "local://"))
