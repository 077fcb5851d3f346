"""Source of a movie in a Zarr array, v2 or v3, on a local disk or at an fsspec URL."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numcodecs.errors
import numpy as np
import zarr
import zarr.errors
from numpy.typing import NDArray
from zarr.codecs.sharding import ShardingCodec
from zarr.core.common import concurrent_map
from zarr.core.sync import sync

from photon_gpu.errors import CorruptDataError, InvalidInputError, StoreNotFoundError
from photon_gpu.recording import NOTHING, Document, Recording, content_crc32, lost_frames
from photon_gpu.source_metadata_zip import NAME, unpack
from photon_gpu.sources.check import choose_movie
from photon_gpu.sources.chunk_layer_cache import Box
from photon_gpu.sources.chunked import ChunkedSource
from photon_gpu.sources.missing_frames import ERROR, FILL, ZERO, check_missing, settle, within
from photon_gpu.sources.ome_zarr_image import (
    choose_image,
    full_resolution,
    is_image,
    recording_of_level,
)
from photon_gpu.sources.select.stored_dimension_names import zarr_axes, zarr_coordinates, zarr_dimensions
from photon_gpu.sources.select.xarray_coordinates import with_coordinates

ATTRIBUTES = "zarr/attributes.json"
"""Document of the attributes of an array."""

OME_MARK = "ome_crc32"
"""Attribute of an array that ``decode`` wrote: a checksum of the attribute ``ome`` of its group."""

EXPORTED = ("written_by", "unit", "_ARRAY_DIMENSIONS", "photon_recording", OME_MARK)
"""Attributes of an array that ``decode`` writes."""

# Attributes of a photon movie that describe its own files only.
_OF_ONE_MOVIE = ("photon_recording", "photon_movie_id", "photon_format", "predictor")

# numcodecs raises its own for arrays of Zarr v2, zarr for v3, and from 3.4 for both.
_UNKNOWN_CODEC = (numcodecs.errors.UnknownCodecError, zarr.errors.UnknownCodecError)


class ZarrSource(ChunkedSource):
    """A movie in a Zarr array ``(T, ..., H, W)``, read one range of frames at a time.

    Parameters
    ----------
    array : zarr.Array
        Array that is open for reading; :func:`open_zarr` opens one by URL.
    name : str, optional
        Name in messages. Default: the URL.
    missing : {"error", "zero", "fill"}
        What to do if chunks, shards or chunks within shards are missing. Zarr reads its fill value there.
        ``"error"``: refuse the array. ``"zero"``: accept it, and list the frames in ``lost``. ``"fill"``:
        take the fill value as data, which is right if the writer leaves out empty chunks.

    Raises
    ------
    InvalidInputError
        If the array has stabilized values of a photon movie, or is not a movie.
    UnsupportedTypeError
        If the dtype is not that of a movie.
    CorruptDataError
        If chunks are missing or, on reading, one does not decode.

    Notes
    -----
    Memory: the requested frames, the chunks of the array that overlap them, as many at once as zarr-python's
    ``async.concurrency`` allows, and up to 256 MiB of chunks that hold further frames
    (:class:`photon_gpu.sources.chunk_layer_cache.ChunkLayerCache`).
    """

    def __init__(self, array: Any, *, name: str | None = None, missing: str = ERROR) -> None:
        name = str(array.store_path) if name is None else name
        refuse_photon_movie(dict(array.attrs), name)
        super().__init__(array, name=name, chunks=array.chunks)
        self.stored_axes = zarr_axes(array)
        self.recording = _recording_of({"": array}, array)
        if not _is_ours(array):
            self.recording = recording_of_level(array).joined(*self.recording.documents)
            if dims := zarr_dimensions(array):
                self.recording = with_coordinates(self.recording, dims, zarr_coordinates(array, dims))
        if check_missing(missing, (ERROR, ZERO, FILL)) != FILL:
            try:
                lacking, problem = sync(_find_gaps(array))
            except OSError as error:
                raise CorruptDataError(f"{name}: its chunks cannot be listed: {error}") from error
            self.lost = settle(name, problem, lacking, missing, fill=True)
        if array.attrs.get("codec_name") == "photon":
            self.lost = within((*self.lost, *lost_frames(array.attrs)), 0, array.shape[0])

    def _slice(self, start: int, stop: int) -> NDArray[Any]:
        try:
            return super()._slice(start, stop)
        except CorruptDataError:
            raise
        except Exception as error:
            # Each codec has its own exceptions; stores add theirs.
            raise CorruptDataError(
                f"{self.name}: frames {start}:{stop} cannot be read: {type(error).__name__}: {error}"
            ) from error

    def _read_stored(self, box: Box) -> NDArray[Any]:
        self._check_shards(box)
        return np.asarray(self._movie[box])

    def _check_shards(self, box: Box) -> None:
        """Refuse shards of zero bytes, which zarr-python would read as fill values."""
        shards = self._movie.shards
        if shards is None:
            return
        parts = (
            range(part.start // length, (part.stop - 1) // length + 1)
            for part, length in zip(box, shards, strict=True)
        )
        for coordinates in itertools.product(*parts):
            key = self._movie.metadata.encode_chunk_key(coordinates)
            path = self._movie.store_path / key
            try:
                nbytes = sync(path.store.getsize(path.path))
            except FileNotFoundError:
                continue  # counted when the array was opened
            if nbytes == 0:
                raise CorruptDataError(f"{self.name}: the shard {key} is empty; it was cut off while written")


def open_zarr(
    url: Any,
    *,
    path: str | None = None,
    storage_options: dict[str, Any] | None = None,
    missing: str = ERROR,
) -> ZarrSource:
    """Open a Zarr array by URL, or the only movie in a group.

    Parameters
    ----------
    url : str, zarr.Group or Store
        Local folder or fsspec URL of an array or a group, Zarr v2 or v3; or an open group; or a store, such
        as ``tifffile.imread(path, aszarr=True)``. Of an OME-Zarr image, the level of full resolution is read.
    path : str, optional
        Path below ``url`` of the array, or of a group with a single movie.
    storage_options : dict, optional
        Options of the fsspec file system.
    missing : {"error", "zero", "fill"}
        See :class:`ZarrSource`.

    Raises
    ------
    StoreNotFoundError
        If there is neither an array nor a group.
    InvalidInputError
        If several arrays are movies (the message lists them), or the array is a photon movie.
    CorruptDataError
        If the metadata cannot be read.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> url = str(pathlib.Path(tempfile.mkdtemp()) / "movie.zarr")
    >>> array = zarr.create_array(url, shape=(5, 2, 2), dtype="uint16", fill_value=None)
    >>> array[...] = 7
    >>> with open_zarr(url) as movie:
    ...     movie.shape, int(movie.read(0, 1).max())
    ((5, 2, 2), 7)
    """
    inside = (path or "").strip("/")
    outer = url if isinstance(url, str) else str(getattr(url, "store_path", url))
    name = f"{outer}::/{inside}" if inside else outer
    try:
        if isinstance(url, zarr.Group):
            node = url[inside] if inside else url
        else:
            node = zarr.open(url, mode="r", path=inside or None, storage_options=storage_options)
        if isinstance(node, zarr.Array):
            array, recording = node, _recording_of({"": node}, node)
        else:
            array, recording = _only_movie(node, name)
    except FileNotFoundError as error:
        raise StoreNotFoundError(f"{name}: neither a Zarr array nor a group is there ({error})") from error
    except InvalidInputError:
        raise
    except _UNKNOWN_CODEC as error:
        raise InvalidInputError(
            f"{name}: it is stored with a codec that is not installed here: {str(error).split('. ')[0]}"
        ) from error
    except Exception as error:
        raise CorruptDataError(
            f"{name}: the Zarr metadata cannot be read: {type(error).__name__}: {error}"
        ) from error
    source = ZarrSource(array, name=name, missing=missing)
    names = {document.name for document in recording.documents}
    own = source.recording
    more = (document for document in own.documents if document.name not in names)
    source.recording = recording.replace(
        channel_names=recording.channel_names or own.channel_names,
        pixel_size=recording.pixel_size or own.pixel_size,
        frame_rate=recording.frame_rate or own.frame_rate,
        timestamps=own.timestamps if recording.timestamps is None else recording.timestamps,
        documents=(*recording.documents, *more),
        not_kept=dict.fromkeys((*recording.not_kept, *own.not_kept)),
    )
    return source


def refuse_photon_movie(attributes: dict[str, Any], name: str) -> None:
    """Refuse a photon movie of layout plain, whose stabilized values are not counts.

    Raises
    ------
    InvalidInputError
        If ``codec_name`` is ``photon`` and ``codec_version`` is 1.x.
    """
    version = str(attributes.get("codec_version", ""))
    if attributes.get("codec_name") == "photon" and version.split(".")[0] == "1":
        raise InvalidInputError(
            f"{name}: this is a photon movie already (format {version}): its array holds stabilized values, "
            "not counts. Use photon_gpu.open(url).counts to get the counts"
        )


def _only_movie(group: Any, name: str) -> tuple[Any, Recording]:
    if is_image(group):
        return _image(group, name)
    members = dict(sorted(group.members(max_depth=None)))
    groups = {path: node for path, node in members.items() if isinstance(node, zarr.Group)}
    if (image := choose_image(groups, name)) is not None:
        return _image(image, name)
    arrays = {path: node for path, node in members.items() if isinstance(node, zarr.Array)}
    described = {path: (array.shape, array.dtype) for path, array in arrays.items()}
    chosen = choose_movie(described, name=name, option="path")
    above = {path: node for path, node in groups.items() if f"{chosen}/".startswith(f"{path}/")}
    return arrays[chosen], _recording_of({"": group, **above, chosen: arrays[chosen]}, arrays[chosen])


def _image(group: Any, name: str) -> tuple[Any, Recording]:
    """Array and metadata of an OME-Zarr image; what photon_gpu stored with it says more than the image."""
    array, recording = full_resolution(group, name)
    if not _is_ours(array):
        return array, recording
    attributes = dict(group.attrs)
    as_written = content_crc32(attributes.get("ome")) == array.attrs.get(OME_MARK)
    if as_written or "codec_name" in array.attrs:
        attributes.pop("ome", None)
    own = _recording_of({"": array}, array)
    return array, own.joined(*recording.documents) if attributes else own


def _is_ours(array: Any) -> bool:
    """Whether an array is a photon movie, or what ``decode`` wrote."""
    return array.attrs.get("codec_name") == "photon" or array.attrs.get("written_by") == "photon_gpu"


def _recording_of(nodes: dict[str, Any], array: Any) -> Recording:
    """Metadata of an array; of one that photon_gpu wrote, the source's metadata and times as well."""
    recording = _attributes_of(nodes)
    if not _is_ours(array):
        return recording
    path = array.store_path / NAME
    data = sync(path.get())
    kept = NOTHING if data is None else unpack(data.to_bytes(), str(path))
    new = [one for one in recording.documents if not any(_says(old, one) for old in kept.documents)]
    return recording.replace(timestamps=kept.timestamps, documents=kept.documents).joined(*new)


def _says(old: Document, new: Document) -> bool:
    """Whether a document of attributes has all that another one says of each array."""
    if old.media_type != new.media_type or not old.name.startswith("zarr/attributes"):
        return False
    try:
        there = json.loads(old.data)
        return all(own.items() <= there.get(path, {}).items() for path, own in json.loads(new.data).items())
    except (ValueError, AttributeError):
        return False


def _attributes_of(nodes: dict[str, Any]) -> Recording:
    """Metadata of an array: attributes of it and its parent groups, verbatim; of a photon movie, parsed."""
    attributes = {path: dict(node.attrs) for path, node in nodes.items() if dict(node.attrs)}
    if not attributes:
        return NOTHING
    try:
        recording = Recording.from_dict(next(reversed(attributes.values())).get("photon_recording", {}))
    except InvalidInputError:
        recording = NOTHING
    for path, own in attributes.items():
        fields: tuple[str, ...] = ("photon_recording",)
        if own.get("written_by") == "photon_gpu":
            fields = EXPORTED
        elif own.get("codec_name") == "photon":
            fields = _OF_ONE_MOVIE
        attributes[path] = {name: value for name, value in own.items() if name not in fields}
        if fields is _OF_ONE_MOVIE and isinstance(channels := own.get("channel_models"), dict):
            models = [
                {name: value for name, value in model.items() if name not in fields}
                for model in channels.get("models", [])
            ]
            attributes[path]["channel_models"] = {**channels, "models": models}
    attributes = {path: own for path, own in attributes.items() if own}
    if not attributes:
        return recording
    data = json.dumps(attributes, indent=1).encode()
    return recording.joined(Document(name=ATTRIBUTES, media_type="application/json", data=data))


async def _find_gaps(array: Any) -> tuple[NDArray[Any], str]:
    """Return whether each frame lacks a chunk, and a sentence that says how many are missing."""
    outer, inner = array.shards or array.chunks, array.chunks
    grid = tuple(-(-length // part) for length, part in zip(array.shape, outer, strict=True))
    chunks = tuple(-(-length // part) for length, part in zip(array.shape, inner, strict=True))
    per_shard = tuple(part // chunk for part, chunk in zip(outer, inner, strict=True))
    folder = array.store_path
    prefix = f"{folder.path}/" if folder.path else ""
    stored = {key.removeprefix(prefix) async for key in folder.store.list_prefix(prefix)}
    keys = {array.metadata.encode_chunk_key(where): where for where in itertools.product(*map(range, grid))}
    there = np.zeros([parts * chunk for parts, chunk in zip(grid, per_shard, strict=True)], bool)
    codec = array.metadata.codecs[0] if array.shards else None
    if not keys.keys() & stored and await folder.store.exists(f"{prefix}{next(iter(keys))}"):
        # A store that computes its chunks, such as tifffile's, lists none of them.
        there_now = await concurrent_map([(f"{prefix}{key}",) for key in keys], folder.store.exists, limit=16)
        stored = {key for key, exists in zip(keys, there_now, strict=True) if exists}
    present = {key: where for key, where in keys.items() if key in stored}

    def mark(where: tuple[int, ...], chunks_there: Any) -> None:
        there[tuple(slice(w * n, (w + 1) * n) for w, n in zip(where, per_shard, strict=True))] = chunks_there

    async def look_into(shard: ShardingCodec, key: str, where: tuple[int, ...]) -> None:
        try:
            index = await shard._load_shard_index_maybe(folder / key, per_shard)
        except Exception:
            index = None  # a damaged shard; reading it raises an error
        none = np.iinfo(np.uint64).max
        mark(where, index is None or index.offsets_and_lengths[..., 0] != none)

    if isinstance(codec, ShardingCodec):
        await concurrent_map([(codec, *item) for item in present.items()], look_into, limit=16)
    else:
        for where in present.values():
            mark(where, True)
    there = there[tuple(map(slice, chunks))]  # the last shards reach beyond the array
    lacking = ~there.reshape(len(there), -1).all(axis=1)
    frames = np.repeat(lacking, inner[0])[: array.shape[0]]
    return frames, f"{int((~there).sum())} of its {there.size} chunks are missing"
