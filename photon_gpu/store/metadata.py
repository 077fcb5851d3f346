"""The metadata files ``.zarray`` and ``.zattrs``: write them, and validate what is read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from photon_gpu.engine.codec.blosc import MAX_BYTES, Compressor
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.layouts.channel_payloads import MOST_CHANNELS
from photon_gpu.engine.model.clipping_levels import ClippingLevels
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.model.photon_peak_code_table import check_peaks
from photon_gpu.engine.runtime.physical_memory import memory_bytes
from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonError, UnsupportedVersionError
from photon_gpu.recording import axis_names
from photon_gpu.store.chunk_grid import ChunkGrid
from photon_gpu.store.source_metadata import described

ARRAY, ATTRIBUTES = ".zarray", ".zattrs"
CHECK = "fidelity_check"
"""Key of ``.zattrs``: the lines of the writer's own check that failed; absent if none did."""
MOVIE_ID = "photon_movie_id"
"""Key of ``.zattrs``: identity of the movie, which its chunks carry."""

DIMENSIONS = "_ARRAY_DIMENSIONS"
"""Key of ``.zattrs``: the names of the axes, where xarray looks for them."""

FORMAT = "photon_format"
"""Key of ``.zattrs``: for people who have the array and not photon_gpu."""

_HOW_TO_READ = (
    "pip install photon-gpu; then photon_gpu.open(...) gives counts, and zarr.open(...) knows the codec "
    "'photon'. FORMAT.md of photon-gpu describes every byte; its photon_decode.py, one file, reads them with "
    "NumPy and zstandard."
)

CHANNELS = "channel_models"
"""Key of ``.zattrs``: the noise models of the channels, if each has its own; it replaces ``anscombe_*``."""

CLIPPING = "clipping_levels"
PEAKS = "photon_peaks"
"""Key of ``.zattrs``: levels at which values pile up, which have a code of their own."""

_LAYOUT_BY_MAJOR = {"1": "plain", "2": "compact", "3": "lossless"}
_LARGEST_JSON = 64 << 20
_LARGEST_EXTRA = _LARGEST_JSON - (1 << 20)
# The keys of .zattrs that a reader uses, for all layouts.
_OURS = frozenset(
    [
        "codec_version",
        "codec_name",
        "anscombe_gain",
        "anscombe_offset",
        "anscombe_variance",
        "original_dtype",
        "layout",
        "quantization_step",
        "dither_seed",
        "exact_values",
        "predictor",
        CHECK,
        MOVIE_ID,
        CHANNELS,
        FORMAT,
        CLIPPING,
        PEAKS,
    ]
)


@dataclass(frozen=True)
class Description(ChunkGrid):
    """The content of a movie's two metadata files.

    Attributes
    ----------
    shape, chunks : tuple of int
    encoding : Encoding
    attributes : dict
        All of ``.zattrs``.
    opened : dict
        The bytes of both files, by name.
    """

    encoding: Encoding
    attributes: dict[str, Any]
    opened: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)


def array_of(shape: tuple[int, ...], chunks: tuple[int, ...], layout: Layout) -> dict[str, Any]:
    """Return the content of ``.zarray``: exactly the documented keys."""
    return {
        "chunks": list(chunks),
        "compressor": layout.encoding.compressor.to_dict(),
        "dtype": layout.dtype.newbyteorder("<").str if layout.dtype.itemsize > 1 else layout.dtype.str,
        "fill_value": None,
        "filters": layout.filters,
        "order": "C",
        "shape": list(shape),
        "zarr_format": 2,
    }


def array_json(shape: tuple[int, ...], chunks: tuple[int, ...], layout: Layout) -> bytes:
    """Return the bytes of ``.zarray``."""
    return dump_json(array_of(shape, chunks, layout))


def attributes_of(layout: Layout) -> dict[str, Any]:
    """Return the content of ``.zattrs``: the documented keys in their documented order, then others."""
    encoding = layout.encoding
    attributes: dict[str, Any] = {"codec_version": layout.version, "codec_name": "photon"}
    attributes |= _model(encoding)
    attributes["original_dtype"] = encoding.dtype
    attributes["layout"] = encoding.layout
    if encoding.step is not None:
        attributes["quantization_step"] = encoding.step
        attributes["dither_seed"] = encoding.dither
    if not encoding.channels:
        attributes |= _predicted(encoding)
    if encoding.movie_id is not None:
        attributes[MOVIE_ID] = encoding.movie_id
    if encoding.channels:
        models = [_model(channel) | _predicted(channel) for channel in encoding.channels]
        attributes[CHANNELS] = {"axis": encoding.channel_axis, "models": models}
    return attributes


def _model(encoding: Encoding) -> dict[str, Any]:
    noise = encoding.noise
    if noise is None:
        return {}
    return {
        "anscombe_gain": noise.gain,
        "anscombe_offset": noise.offset,
        "anscombe_variance": noise.variance,
    }


def _predicted(encoding: Encoding) -> dict[str, Any]:
    levels = {CLIPPING: encoding.clipping.to_dict()} if encoding.clipping else {}
    if encoding.layout != "compact":
        return levels
    peaks = {PEAKS: encoding.peaks} if encoding.peaks else {}
    return {"exact_values": encoding.exact, "predictor": encoding.predictor.to_dict(), **levels, **peaks}


def attributes_json(
    shape: tuple[int, ...], layout: Layout, extra: dict[str, Any], failed_check: dict[str, Any] | None = None
) -> bytes:
    """Return the bytes of ``.zattrs``, with further attributes and, if the check failed, its verdict.

    ``_ARRAY_DIMENSIONS`` of ``extra`` replaces the names of the axes.
    """
    attributes = attributes_of(layout)
    check_extra(attributes, extra)
    # Not in attributes_of: plans of encodes and identities of movies are compared between releases.
    attributes[DIMENSIONS] = list(axis_names(described(extra).axes, len(shape)))
    attributes[FORMAT] = _HOW_TO_READ
    return dump_json({**attributes, **extra, **({CHECK: failed_check} if failed_check else {})})


def check_extra(attributes: dict[str, Any], extra: dict[str, Any]) -> None:
    """Raise InvalidInputError if a caller's attributes cannot be stored or use a key of photon_gpu."""
    if taken := own_keys(extra, attributes):
        raise InvalidInputError(f"attributes: {taken[0]!r} is photon_gpu's own key; give it another name")
    if extra:
        as_read(extra)


def own_keys(extra: dict[str, Any], others: Iterable[str] = ()) -> list[str]:
    """Return the keys of a caller's attributes that photon_gpu, or ``others``, uses itself."""
    return sorted(set(extra) & {*others, *_OURS})


def as_read(extra: Any) -> dict[str, Any]:
    """Return a caller's attributes in the form that reading returns: keys are strings, tuples are lists.

    Raises
    ------
    InvalidInputError
        They are not a dictionary, JSON cannot hold them, two keys become one, or they are too large to be
        read back.

    Examples
    --------
    >>> as_read({"planes": {2: 0.0, 10: 5.0}})
    {'planes': {'2': 0.0, '10': 5.0}}
    """
    if not isinstance(extra, dict):
        raise InvalidInputError(f"attributes are {type(extra).__name__}; a dictionary is needed")
    try:
        data = dump_json(extra)
        if len(data) <= _LARGEST_EXTRA:
            content: dict[str, Any] = json.loads(data, object_pairs_hook=_once)
            return content
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"attributes: {error}; .zattrs can only hold JSON values") from error
    raise InvalidInputError(
        f"attributes take {len(data):,} bytes as JSON; at most {_LARGEST_EXTRA:,} can be kept in .zattrs"
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"two keys become {next(n for n in names if names.count(n) > 1)!r}")
    return result


def texts(
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    layout: Layout,
    extra: dict[str, Any],
    failed_check: dict[str, Any] | None = None,
) -> dict[str, bytes]:
    """Return both files by name, in the order in which they are written."""
    return {
        ATTRIBUTES: attributes_json(shape, layout, extra, failed_check),
        ARRAY: array_json(shape, chunks, layout),
    }


def describe(array: bytes, attributes: bytes, url: str) -> Description:
    """Parse both files; raise an error for anything unknown, impossible or inconsistent."""
    meta, attrs = load_json(array, url, ARRAY), load_json(attributes, url, ATTRIBUTES)
    if meta.get("zarr_format") != 2:
        raise UnsupportedVersionError(
            f"{url}: zarr_format is {meta.get('zarr_format')!r}; photon movies are Zarr v2"
        )
    if attrs.get("codec_name") != "photon":
        raise CorruptDataError(
            f"{url} is a Zarr array, but not a photon movie (codec_name {attrs.get('codec_name')!r})"
        )
    version = attrs.get("codec_version")
    major = version.split(".")[0] if isinstance(version, str) else None
    if major not in _LAYOUT_BY_MAJOR:
        raise UnsupportedVersionError(
            f"{url} has codec_version {repr(version)[:60]}; this release reads 1.x (plain), 2.x (compact) "
            "and 3.x (lossless): a newer photon_gpu may read it"
        )
    shape, chunks = _sizes(meta, "shape", url), _sizes(meta, "chunks", url)
    if len(shape) != len(chunks) or chunks[1:] != shape[1:] or len(shape) < 3:
        raise CorruptDataError(
            f"{url} has chunks {list(chunks)} of shape {list(shape)}; a chunk must hold whole frames"
        )
    try:
        encoding = _encoding(meta, attrs, _LAYOUT_BY_MAJOR[major])
    except (PhotonError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptDataError(f"{url}: the metadata does not describe a movie: {error}") from error
    axis, channels = encoding.channel_axis, len(encoding.channels)
    if channels and (axis > len(shape) - 3 or shape[axis] != channels):
        raise CorruptDataError(
            f"{url}: {CHANNELS} gives {channels} models along axis {axis}; the shape is {list(shape)}"
        )
    _check_array(meta, encoding, url)
    _check_memory(chunks, encoding, url)
    return Description(shape, chunks, encoding, attrs, {ARRAY: array, ATTRIBUTES: attributes})


def dump_json(content: dict[str, Any]) -> bytes:
    """Return the bytes of a metadata file."""
    return json.dumps(content, indent=4, allow_nan=False).encode()


def load_json(data: bytes, url: str, name: str) -> dict[str, Any]:
    """Return the content of a metadata file ``name``, or raise CorruptDataError."""
    if len(data) > _LARGEST_JSON:
        raise CorruptDataError(f"{url}: {name} has {len(data):,} bytes; that is not a metadata file")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(f"{url}: {name} is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise CorruptDataError(f"{url}: {name} holds {type(content).__name__}, not an object")
    return content


def _sizes(meta: dict[str, Any], key: str, url: str) -> tuple[int, ...]:
    sizes = meta.get(key)
    if (
        not isinstance(sizes, list)
        or not 1 <= len(sizes) <= 32
        or any(
            isinstance(size, bool) or not isinstance(size, int) or not 1 <= size < 1 << 48 for size in sizes
        )
    ):
        raise CorruptDataError(f"{url}: {key} is {str(sizes)[:80]}; positive whole numbers are needed")
    return tuple(sizes)


def _encoding(meta: dict[str, Any], attrs: dict[str, Any], layout: str) -> Encoding:
    shared: dict[str, Any] = {
        "layout": layout,
        "dtype": attrs["original_dtype"],
        "step": attrs.get("quantization_step"),
        "dither": attrs.get("dither_seed"),
        "compressor": Compressor.from_dict(meta["compressor"]),
        "movie_id": attrs.get(MOVIE_ID),
    }
    channel_models = attrs.get(CHANNELS)
    if channel_models is None:
        return Encoding(**shared, **_of_one_model(attrs, layout))
    models, axis = channel_models["models"], channel_models["axis"]
    if not isinstance(models, list) or not 1 <= len(models) <= MOST_CHANNELS or type(axis) is not int:
        raise KeyError(f"{CHANNELS} is {str(channel_models)[:80]}")
    channels = tuple(Encoding(**shared, **_of_one_model(one, layout)) for one in models)
    return Encoding(**shared, channels=channels, channel_axis=axis)


def _of_one_model(attributes: dict[str, Any], layout: str) -> dict[str, Any]:
    noise = None
    if "anscombe_gain" in attributes:
        noise = NoiseModel(
            gain=attributes["anscombe_gain"],
            offset=attributes["anscombe_offset"],
            variance=attributes["anscombe_variance"],
        )
    elif layout != "lossless":
        raise KeyError("anscombe_gain is missing")
    predictor = (
        Predictor.from_dict(attributes["predictor"]) if layout == "compact" else Predictor(name="none")
    )
    exact, clipping = (
        bool(attributes.get("exact_values", False)),
        ClippingLevels.from_dict(attributes.get(CLIPPING)),
    )
    peaks = check_peaks(attributes.get(PEAKS, 0), noise)
    return {"noise": noise, "predictor": predictor, "exact": exact, "clipping": clipping, "peaks": peaks}


def _check_array(meta: dict[str, Any], encoding: Encoding, url: str) -> None:
    stored = "<f8" if encoding.layout == "plain" else np.dtype(encoding.dtype).newbyteorder("<").str
    filters = meta.get("filters") or []
    if not isinstance(filters, list):
        filters = [filters]
    named = [f.get("id") if isinstance(f, dict) else repr(f) for f in filters]
    wanted = ["photon"] if encoding.layout == "compact" else []
    if named != wanted:
        raise CorruptDataError(
            f"{url} states filters {str(named)[:80]}; layout {encoding.layout} has {wanted}. No filter "
            "was run"
        )
    separator = meta.get("dimension_separator", ".")
    if meta.get("dtype") != stored or meta.get("order") != "C" or separator != ".":
        raise CorruptDataError(
            f"{url} states dtype {meta.get('dtype')!r}, order {meta.get('order')!r}, separator "
            f"{separator!r}; a {encoding.layout} movie of {encoding.dtype} has {stored!r}, 'C', '.'"
        )


def _check_memory(chunks: tuple[int, ...], encoding: Encoding, url: str) -> None:
    itemsize = 8 if encoding.layout == "plain" else np.dtype(encoding.dtype).itemsize
    nbytes = math.prod(chunks) * itemsize
    if nbytes > MAX_BYTES or nbytes > memory_bytes():
        raise CorruptDataError(
            f"{url}: one chunk of {list(chunks)} takes {nbytes:,} bytes; at most "
            f"{min(MAX_BYTES, memory_bytes()):,} are possible here"
        )


def failed_check(attributes: dict[str, Any]) -> dict[str, str]:
    """Return the failed lines of the check that ran when a movie was stored, and their measured values.

    The attributes come from a store, so their values may be anything.

    Examples
    --------
    >>> check = {"verdict": "FAIL", "failed": [{"name": "snr", "found": "44 % lost"}]}
    >>> failed_check({"fidelity_check": check})
    {'snr': '44 % lost'}
    >>> failed_check({})
    {}
    """
    if CHECK not in attributes:
        return {}
    try:
        return {str(line["name"])[:40]: str(line["found"])[:300] for line in attributes[CHECK]["failed"]}
    except (KeyError, TypeError):
        return {"unreadable": f"{CHECK} is {str(attributes[CHECK])[:80]}"}
