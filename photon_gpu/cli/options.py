"""Options that several commands share, alone or as a group, so that they mean the same everywhere."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from photon_gpu import file_types
from photon_gpu.cli import console
from photon_gpu.errors import InvalidInputError

if TYPE_CHECKING:
    from photon_gpu.engine.model.noise import NoiseModel
    from photon_gpu.settings import EncodeSettings, RecordSettings
    from photon_gpu.sources.base import Source

RUNNING = "Running"
"""Panel, in the help of a command, of the options that all commands have."""


def number(text: str) -> float:
    """A number, or an error that names what arrived."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number") from None


READING = "Which part of SRC"
"""Panel of the options that name the axes of a source, and choose a part of it."""


def numbers(text: str) -> float | tuple[float, ...]:
    """A number, or several with commas between, one per channel."""
    values = tuple(number(part) for part in text.split(","))
    return values if len(values) > 1 else values[0]


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
        help="Replace an existing movie once the new one is complete.",
        rich_help_panel=RUNNING,
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        metavar="auto|numba|cupy|numpy",
        help="Compute on the CPU, on a GPU, or with slow NumPy.",
        rich_help_panel=RUNNING,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        parser=whole,
        metavar="N",
        help="Number of threads.",
        show_default="one per core",
        rich_help_panel=RUNNING,
    ),
]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Option for fsspec, for a store at a URL; may be repeated. Do not pass passwords "
        "here: the environment and ~/.aws are read as usual.",
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
SourceOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="For SRC: series=1 (TIFF), as_pages=true (TIFF), inverted=true (Scanbox), missing=zero "
        "(frames that SRC lacks become zeros, and are recorded as lost); for a URL also what fsspec takes. "
        "missing=skip (files on both sides of a missing one are joined). Repeat it.",
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which array of SRC: a dataset or NWB series (HDF5), a path (Zarr), a name (.npz), an image "
        "(FITS). Like SRC::NAME.",
        show_default="the only movie",
        rich_help_panel=READING,
    ),
]
RawShape = Annotated[
    str | None,
    typer.Option(
        metavar="HEIGHT,WIDTH",
        help="Shape of a frame of a raw file (.raw, .bin, .dat); more axes may precede it.",
        show_default="as Experiment.xml or ops.npy beside it say",
        rich_help_panel=READING,
    ),
]
RawDtype = Annotated[
    str | None,
    typer.Option(
        metavar="DTYPE",
        help="Type of a pixel of a raw file: uint16, int16, ... or >i2 for big-endian.",
        show_default=False,
        rich_help_panel=READING,
    ),
]
OffsetBytes = Annotated[
    int | None,
    typer.Option(
        parser=whole,
        metavar="BYTES",
        help="Length of the header of a raw file.",
        show_default="0",
        rich_help_panel=READING,
    ),
]
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SRC...",
        help=f"The movie, (T, ..., H, W): {file_types.names()}. FILE.h5::/data/movie names what is inside of "
        "a file. Many files of one movie: all of them, a glob in quotes, or their folder.",
        show_default=False,
    ),
]
Truncated = Annotated[
    str,
    typer.Option(
        metavar="error|keep",
        help="If SRC was cut off: raise an error, or keep its complete frames and record the missing ones.",
        rich_help_panel=READING,
    ),
]
Axes = Annotated[
    str | None,
    typer.Option(
        metavar="tczyx",
        help="Names of the dimensions of SRC as they are stored: t time, c channel, z plane, y row, "
        "x column. DST has time first, rows and columns last.",
        show_default="as SRC says",
        rich_help_panel=READING,
    ),
]
Channels = Annotated[
    int | None,
    typer.Option(
        parser=whole,
        metavar="N",
        help="Number of channels that alternate in SRC; each gets its own noise model.",
        show_default="as SRC says",
        rich_help_panel=READING,
    ),
]
Planes = Annotated[
    int | None,
    typer.Option(
        parser=whole,
        metavar="N",
        help="Number of planes that alternate in SRC; channels alternate faster.",
        show_default="as SRC says",
        rich_help_panel=READING,
    ),
]
Channel = Annotated[
    str | None,
    typer.Option(
        metavar="K|NAME",
        help="Use only this channel: its number from 0, or its name.",
        show_default="all",
        rich_help_panel=READING,
    ),
]
Plane = Annotated[
    int | None,
    typer.Option(
        parser=whole,
        metavar="K",
        help="Use only this plane, counted from 0.",
        show_default="all",
        rich_help_panel=READING,
    ),
]
FrameRange = Annotated[
    str | None,
    typer.Option(
        metavar="A:B",
        help="Use only frames A to B - 1, counted from 0 after channels and planes are separated.",
        show_default="all",
        rich_help_panel=READING,
    ),
]
Timestamps = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="File of the frame times in seconds, instead of those in SRC: .npy, or text with one "
        "number per line.",
        show_default="as SRC says",
        rich_help_panel=READING,
    ),
]
Attribute = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Store this in the .zattrs of DST; VALUE is text, or a number, true, false, null, "
        "{...} or [...] as in JSON. May be repeated.",
        show_default=False,
    ),
]
FeedFrames = Annotated[
    str | None,
    typer.Option(
        metavar="A:B|N",
        help="For a complete file: use only frames A to B - 1. For simulate: the number of frames.",
        show_default="all; 1000",
        rich_help_panel=READING,
    ),
]
TrustNoise = Annotated[
    bool,
    typer.Option(
        "--trust-noise",
        metavar="",
        help="Use --gain, --offset and --variance even if the noise of the movie contradicts them.",
    ),
]
Destination = Annotated[
    str,
    typer.Argument(
        metavar="DST", help="Folder to write, or its URL, such as s3://bucket/movie.zarr.", show_default=False
    ),
]
Gain = Annotated[
    Any,
    typer.Option(
        parser=numbers,
        metavar="ADU/PHOTON",
        help="ADU per photon: the slope of variance against mean. A,B,... for channels with a model each.",
        show_default="estimated from the frames, and kept with DST",
    ),
]
Offset = Annotated[
    Any,
    typer.Option(
        parser=numbers,
        metavar="ADU",
        help="Mean value of a pixel in the dark, ADU.",
        show_default="with --gain: 0",
    ),
]
Variance = Annotated[
    Any,
    typer.Option(
        parser=numbers,
        metavar="ADU^2",
        help="Variance of a pixel in the dark: the read noise in ADU, squared.",
        show_default="with --gain: 0",
    ),
]
NoiseFrom = Annotated[
    str | None,
    typer.Option(
        metavar="estimate|MOVIE",
        help="Instead of --gain: estimate the noise model from the first frames (the default), or "
        "take it from an earlier movie.",
        show_default=False,
    ),
]
Step = Annotated[
    float | None,
    typer.Option(
        parser=number,
        metavar="SIGMA",
        help="Quantization step, in units of the noise. 0.5 adds 2 % to the variance of the noise,"
        " 1.0 adds 8 %. A smaller step gives a larger file.",
        show_default="0.5",
    ),
]
LayoutOption = Annotated[
    str,
    typer.Option(
        metavar="plain|compact|lossless",
        help="plain: opens in any Zarr reader, as values with noise 1. compact: smaller and "
        "faster, opens in Python with photon_gpu, as counts. lossless: keeps every bit.",
    ),
]
Preset = Annotated[
    str,
    typer.Option(
        metavar="fast|balanced|small",
        help="Number of candidates to try for a small file: fast tries few, small tries many.",
    ),
]
Predictor = Annotated[
    str | None,
    typer.Option(
        metavar="none|mean|past|full|spatial|moving",
        help="Predictor of layout compact.",
        show_default="tried on a sample",
    ),
]
Compressor = Annotated[
    str | None,
    typer.Option(
        metavar="NAME-LEVEL-SHUFFLE",
        help="Blosc settings, such as zstd-5-bitshuffle.",
        show_default="tried on a sample",
    ),
]
Dither = Annotated[
    int | None,
    typer.Option(
        parser=whole,
        metavar="SEED",
        help="Seed of a pattern that is added before rounding and subtracted after, so that "
        "averages have no bias.",
        show_default="off",
    ),
]
ChunkFrames = Annotated[
    int | None,
    typer.Option(parser=whole, metavar="FRAMES", help="Frames per chunk.", show_default="100"),
]
EncodeCheck = Annotated[
    str,
    typer.Option(
        metavar="off|on|full|sample",
        help="on: read back every chunk, and compare a sample with SRC. full: compare every pixel "
        "with SRC. sample: compare a sample before it is written, and read nothing back. If "
        "the check fails, DST is kept and marked as failing, and the exit code is 1.",
    ),
]
RecordCheck = Annotated[
    str,
    typer.Option(
        metavar="on|off",
        help="on: compare a sample of the encoded chunks with the frames. If the check fails, DST "
        "is kept and marked as failing, and the exit code is 1.",
    ),
]
Durability = Annotated[
    str,
    typer.Option(
        metavar="frame|chunk",
        help="frame: each frame is on the disk of the spool before it counts, so it survives a "
        "power cut. chunk: the same for each chunk.",
    ),
]
SpoolFolder = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder on a fast local disk that holds frames while the store cannot be reached.",
        show_default="for frame: beside DST",
    ),
]
QueueBytes = Annotated[
    float,
    typer.Option(parser=number, metavar="BYTES", help="Memory for waiting frames."),
]
TriedGain = Annotated[
    float | None,
    typer.Option(
        parser=number,
        metavar="ADU/PHOTON",
        help="Gain of a file that is encoded as a sample.",
        show_default="estimated from it",
    ),
]
TriedOffset = Annotated[
    float | None,
    typer.Option(
        parser=number,
        metavar="ADU",
        help="Offset of a file that is encoded as a sample.",
        show_default="with --gain: 0",
    ),
]
TriedVariance = Annotated[
    float | None,
    typer.Option(
        parser=number,
        metavar="ADU^2",
        help="Dark variance of a file that is encoded as a sample.",
        show_default="with --gain: 0",
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        metavar="",
        help="Print only one JSON object on stdout; print errors as one on stderr.",
        rich_help_panel=RUNNING,
    ),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", metavar="", help="Print the traceback of an error.", rich_help_panel=RUNNING),
]


def grouped(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a parameter of a command whose type is a dataclass stand for the options that are its fields.

    Parameters
    ----------
    command : callable
        With a keyword for each option, or group of options.

    Returns
    -------
    callable
        With a keyword for each option, as Typer reads it; it makes the groups and calls ``command``.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _options_of(groups[parameter.name])
        else:
            parameter_kind, hint = inspect.Parameter.KEYWORD_ONLY, hints[parameter.name]
            parameters.append(parameter.replace(kind=parameter_kind, annotation=hint))

    def run(**values: Any) -> Any:
        made = {
            name: group(**{one.name: values.pop(one.name) for one in fields(group)})
            for name, group in groups.items()
        }
        return command(**values, **made)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _options_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name]
        )
        for one in fields(group)
    ]


@dataclass(frozen=True, kw_only=True)
class PartOptions:
    """The options of every command that reads SRC."""

    dataset: Dataset = None

    axes: Axes = None
    channels: Channels = None
    planes: Planes = None
    channel: Channel = None
    plane: Plane = None
    frames: FrameRange = None
    truncated: Truncated = "error"
    timestamps: Timestamps = None
    source_option: SourceOption = None

    def open(self, src: Sequence[str]) -> Source:
        """Open SRC, one path or several of one movie, and show how far that is if it takes long."""
        from photon_gpu.sources.open import open_source

        paths = list(src)
        with console.opening(paths[0]) as tick:
            return open_source(paths[0] if len(paths) == 1 else paths, **self.of(paths[0]), progress=tick)

    def typed(self) -> list[str]:
        """The options as they were typed, for a command that is to read the same.

        Examples
        --------
        >>> PartOptions(channels=2, source_option=["flyback=drop"]).typed()
        ['--channels', '2', '--source-option', 'flyback=drop']
        """
        words: list[str] = []
        for one in fields(self):
            value = getattr(self, one.name)
            for text in value if isinstance(value, list) else [value]:
                if text is not None and text != one.default:
                    words += [f"--{one.name.replace('_', '-')}", str(text)]
        return words

    def of(self, src: str) -> dict[str, Any]:
        """The options of :func:`photon_gpu.open_source` that were typed."""
        typed = {one.name: getattr(self, one.name) for one in fields(self)}
        del typed["source_option"]
        if self.truncated == "error":
            del typed["truncated"]  # not every type of source has this option
        if self.channel is not None and self.channel.isdigit():
            typed["channel"] = int(self.channel)
        values = for_source(src, self.source_option)
        typed = {name: value for name, value in typed.items() if value is not None}
        if twice := sorted(values.keys() & typed.keys()):
            raise InvalidInputError(f"--{twice[0]} and --source-option {twice[0]}= say the same; give one")
        return {**values, **typed}


@dataclass(frozen=True, kw_only=True)
class ReadOptions(PartOptions):
    """The same, and those for a file of raw frames."""

    shape: RawShape = None
    dtype: RawDtype = None
    offset_bytes: OffsetBytes = None


@dataclass(frozen=True, kw_only=True)
class FeedOptions(PartOptions):
    """The same for ``record``, which also takes raw frames as they come."""

    frames: FeedFrames = None


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """The options of ``encode`` that become :class:`~photon_gpu.settings.EncodeSettings`."""

    gain: Gain = None
    offset: Offset = None
    variance: Variance = None
    trust_noise: TrustNoise = False
    step: Step = None
    layout: LayoutOption = "plain"
    preset: Preset = "balanced"
    predictor: Predictor = None
    compressor: Compressor = None
    dither: Dither = None
    chunk_frames: ChunkFrames = None
    attribute: Attribute = None
    check: EncodeCheck = "on"
    backend: Backend = "auto"
    workers: Workers = None

    def settings(self) -> EncodeSettings:
        """The settings that were typed."""
        from photon_gpu.settings import EncodeSettings

        return EncodeSettings(**self._typed())

    def _typed(self) -> dict[str, Any]:
        typed = {one.name: getattr(self, one.name) for one in fields(self)}
        typed["noise"] = noise_model(*(typed.pop(name) for name in ("gain", "offset", "variance")))
        typed["check"] = _check(self.check)
        typed["attributes"] = pairs(typed.pop("attribute"), "--attribute")
        if self.step is None:
            del typed["step"]
        return typed


@dataclass(frozen=True, kw_only=True)
class RecordOptions(EncodeOptions):
    """The options that ``record`` and ``watch`` share; most become the settings of a recording."""

    noise_from: NoiseFrom = None
    layout: LayoutOption = "compact"
    preset: Preset = "fast"
    check: RecordCheck = "on"
    durability: Durability = "chunk"
    spool: SpoolFolder = None
    queue_bytes: QueueBytes = 512e6
    storage_option: StorageOption = None

    def settings(self) -> RecordSettings:
        """The settings that were typed."""
        from photon_gpu.settings import RecordSettings

        if self.check not in ("on", "off"):
            raise typer.BadParameter(f"--check is {self.check!r}; allowed are on, off")
        typed = self._typed()
        for name in ("noise_from", "spool", "storage_option"):
            del typed[name]
        return RecordSettings(**typed)

    def for_writer(self, dst: str) -> dict[str, Any]:
        """What :meth:`photon_gpu.LiveWriter.with_settings` takes: the settings, and what goes beside them."""
        settings = self.settings()
        if settings.noise is not None and self.noise_from:
            raise InvalidInputError("--noise-from and --gain, --offset, --variance exclude each other")
        return {
            "settings": settings,
            "noise": self.noise_from,
            "spool": self.spool,
            "storage_options": storage_options(self.storage_option, dst),
        }


def _check(text: str) -> bool | str:
    modes: dict[str, bool | str] = {"off": False, "on": True, "full": "full", "sample": "sample"}
    if text not in modes:
        raise typer.BadParameter(f"--check is {text!r}; allowed are off, on, full, sample")
    return modes[text]


# Of these "123" is a text: names of things, and what opens a store.
_TEXTS = ("key", "secret", "token", "password", "username", "user", "dataset", "path", "shape", "dtype")


def pairs(texts: Sequence[str] | None, option: str) -> dict[str, Any]:
    """``KEY=VALUE`` strings as a dictionary; true, false, null, numbers, {...} and [...] as in JSON.

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
            raise InvalidInputError(f"{option}: {key!r} was given twice")
        values[key] = text if key in _TEXTS else _value(text)
    return values


def storage_options(texts: Sequence[str] | None, url: str) -> dict[str, Any] | None:
    """What ``--storage-option`` says; None for a local folder, where it has no effect."""
    values = pairs(texts, "--storage-option")
    return values if is_remote(url) else None


def noise_model(gain: Any, offset: Any, variance: Any) -> NoiseModel | tuple[NoiseModel, ...] | None:
    """The model that was stated, or that of each channel; None where none was.

    Examples
    --------
    >>> [model.gain for model in noise_model((80.0, 20.0), 100.0, None)]
    [80.0, 20.0]
    """
    from photon_gpu.engine.model.noise import NoiseModel

    parameters = {"gain": gain, "offset": offset, "variance": variance}
    known = {name: value for name, value in parameters.items() if value is not None}
    if known and gain is None:
        raise InvalidInputError(
            f"--{' and --'.join(known)} without --gain; give --gain too (1 for a photon counter), or "
            f"none of the "
            "three: then all are estimated"
        )
    if not any(isinstance(value, tuple) for value in known.values()):
        return NoiseModel(**known) if known else None
    lengths = {name: len(value) for name, value in known.items() if isinstance(value, tuple)}
    channels = max(lengths.values())
    if set(lengths.values()) != {channels}:
        raise InvalidInputError(f"{lengths} values were given; give one for all channels, or one for each")
    each = {name: value if isinstance(value, tuple) else (value,) * channels for name, value in known.items()}
    return tuple(
        NoiseModel(**{name: values[channel] for name, values in each.items()}) for channel in range(channels)
    )


def for_source(src: str, texts: Sequence[str] | None) -> dict[str, Any]:
    """What ``--source-option`` says, as :func:`photon_gpu.open_source` takes it."""
    from photon_gpu.sources.select.options import SourceOptions

    values = pairs(texts, "--source-option")
    if not is_remote(src):
        return values
    # An archive is a local file, so "key" of a URL is the store's.
    names = set(SourceOptions.__annotations__) - {"key"}
    inside = {name: values.pop(name) for name in sorted(names & values.keys())}
    return {**inside, "storage_options": values or None}


def json_file(path: str) -> dict[str, Any]:
    """A JSON object in a file, or an error that names the file."""
    try:
        value = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"{path} holds a JSON {type(value).__name__}; an object is needed")
    return value


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
