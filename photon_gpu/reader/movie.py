"""The class Movie: index a stored movie like an array; it reads chunks lazily and checks their bytes."""

from __future__ import annotations

import math
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from photon_gpu.encode_settings import one_of, shown, whole_number
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart, Values, dtype_of
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.layouts.sealed_blosc_layout import SealedFrames
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.physical_memory import memory_bytes
from photon_gpu.engine.runtime.pool import Calls, Pool, Split, parallel, split_chunk, worker_count
from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning
from photon_gpu.indexing import Selection, Share, shares
from photon_gpu.reader.chunk_cache import STORED, ChunkCache
from photon_gpu.reader.frame_times import FrameTimes
from photon_gpu.reader.movie_html import movie_html
from photon_gpu.reader.original_units_view import Counts, refuse_no_copy
from photon_gpu.recording import NOTHING, Document, Recording
from photon_gpu.store import manifest, metadata, source_metadata
from photon_gpu.store.metadata import Description
from photon_gpu.store.movie_folder import MovieFolder
from photon_gpu.store.ome_zarr.zarr2_view import OmeZarrStorage
from photon_gpu.store.storage import Storage, read_required

if TYPE_CHECKING:
    from photon_gpu.engine.codec.backend import GpuCoder

_FETCHES = 4
_IN_FLIGHT_BYTES = 512 << 20


class Movie:
    """A stored movie; indexing reads from the store.

    ``movie[...]`` gives stabilized float64 values, ``movie.counts[...]`` the original dtype and
    units. The first axis is time. Every index selects what NumPy would select from the decoded array, and
    only the chunks that it needs are read. An index that NumPy refuses is an :class:`InvalidIndexError`.

    Attributes
    ----------
    shape, chunks : tuple of int
        ``(T, ..., H, W)`` and ``(chunk_frames, ..., H, W)``.
    dtype : numpy.dtype
        float64, the dtype of stabilized values; ``counts.dtype`` is the original one.
    attrs : dict
        The store's ``.zattrs``.
    noise : NoiseModel or None
        None also if each channel has its own model: see ``channel_noise``.
    step : float or None
        Sigma; None if nothing was quantized.
    """

    dtype = np.dtype(np.float64)

    def __init__(
        self,
        storage: Storage,
        description: metadata.Description,
        *,
        backend: str = "auto",
        device: str = "cpu",
        workers: int | None = None,
        listed: dict[str, list[Any]] | None = None,
    ) -> None:
        self.storage = storage
        self._take(description)
        one_of("device", device, ("cpu", "gpu"))
        self.device = device
        self._layout = layout_for(description.encoding, get_backend(backend, on_gpu=device == "gpu"))
        self._workers = worker_count(workers)
        self._all_threads = Split(self._workers, parallel(self._workers))
        self._manifest = listed
        self._missed = False
        self._words: tuple[list[Any] | None, Recording] | None = None
        self._cache = ChunkCache()
        self._lock = threading.Lock()

    def _take(self, description: Description) -> None:
        """Set all attributes that come from the movie's metadata."""
        self._description = description
        self.shape, self.chunks, self.encoding = description.shape, description.chunks, description.encoding
        self.attrs = dict(description.attributes)
        self.folder = MovieFolder(self.shape, self.chunks, self.storage)

    @property
    def url(self) -> str:
        """URL of the movie, without credentials."""
        return self.storage.url

    @property
    def noise(self) -> NoiseModel | None:
        """Noise model that the movie was encoded with."""
        return self.encoding.noise

    @property
    def channel_noise(self) -> tuple[NoiseModel | None, ...]:
        """Noise model of each channel, if each has its own; else empty."""
        return tuple(channel.noise for channel in self.encoding.channels)

    def channel(self, number: int) -> Movie:
        """Return one channel, without the axis of channels, of a movie with a noise model per channel.

        Examples
        --------
        >>> import numpy as np, photon_gpu as pg
        >>> counts = np.random.default_rng(0).poisson(20.0, (8, 2, 16, 16)).astype("uint16")
        >>> models = [pg.NoiseModel(), pg.NoiseModel(variance=1.0)]
        >>> _ = pg.encode(counts, "memory://two.zarr", noise=models, axes="tcyx", overwrite=True)
        >>> red = pg.open("memory://two.zarr").channel(1)
        >>> red.shape, red.noise.variance
        ((8, 16, 16), 1.0)
        """
        channels = len(self.encoding.channels)
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or not 0 <= number < channels:
            raise InvalidInputError(
                f"channel is {number!r}; {self.url} has "
                + (f"0 to {channels - 1}" if channels else "one noise model for all: index its axis")
            )
        return ChannelMovie(self, int(number))

    @property
    def step(self) -> float | None:
        """Quantization step, sigma."""
        return self.encoding.step

    @property
    def layout(self) -> str:
        """``"plain"``, ``"compact"`` or ``"lossless"``."""
        return self.encoding.layout

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of samples."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the movie in its original dtype."""
        return self.size * np.dtype(self.encoding.dtype).itemsize

    @property
    def stored_bytes(self) -> int:
        """Bytes of all files of the store."""
        return sum(self.storage.sizes().values())

    @property
    def counts(self) -> Counts:
        """The movie in its original dtype and units, lazily."""
        return Counts(self, np.dtype(self.encoding.dtype))

    @property
    def failed_check(self) -> dict[str, str]:
        """Lines that failed the check while the movie was stored; empty if none did."""
        return metadata.failed_check(self.attrs)

    @property
    def recording(self) -> Recording:
        """Metadata of the recording, with the times and the documents of its source.

        Times that the caller passed with each frame are in :attr:`timestamps` only, in the caller's unit.
        """
        recording, documents = source_metadata.described(self.attrs), self._source_metadata
        recording = recording.replace(timestamps=documents.timestamps, documents=documents.documents)
        return recording.fitted(self.shape)

    @property
    def axes(self) -> str | None:
        """One letter of ``t c z y x s`` per dimension, as in ``"tcyx"``; None if unknown."""
        return source_metadata.described(self.attrs).axes

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels; empty if unknown."""
        return source_metadata.described(self.attrs).channel_names

    @property
    def pixel_size(self) -> dict[str, tuple[float, str]]:
        """Size of a pixel by axis, with its unit: ``{"y": (0.5, "µm"), "x": (0.5, "µm")}``."""
        return source_metadata.described(self.attrs).pixel_size

    @property
    def frame_rate(self) -> float | None:
        """Frames per second; None if unknown."""
        return source_metadata.described(self.attrs).frame_rate

    @property
    def rois(self) -> tuple[dict[str, Any], ...]:
        """Regions of interest that a frame is made of; empty if there are none."""
        return source_metadata.described(self.attrs).rois

    @property
    def source_metadata(self) -> dict[str, Document]:
        """The metadata of the source, verbatim, by name: ``["tiff/ImageDescription"].text``."""
        return {document.name: document for document in self._source_metadata.documents}

    @property
    def timestamps(self) -> NDArray | None:
        """Recorded time of each frame, NaN for a frame without a time; None if no frame has one.

        Frames of a file have the times that the file states, in seconds.
        """
        recorded = self._frame_times.timestamps()
        return self._source_metadata.timestamps if recorded is None else recorded

    def frame_metadata(self, frame: int) -> dict[str, Any] | None:
        """Metadata that were recorded with one frame, or None."""
        return self._frame_times.metadata(frame)

    @property
    def _source_metadata(self) -> Recording:
        """The documents and timestamps in the store; they are read again only if the file changes."""
        name = source_metadata.NAME
        entry = self.manifest.get(name)
        if entry is None and (self.manifest or "layout" not in self.attrs or not self.storage.exists(name)):
            return NOTHING
        if self._words is None or self._words[0] != entry:
            data = read_required(self.storage, name, "the metadata of its source")
            if entry is not None and manifest.entry(data) != entry:
                self._manifest = None  # a recording that ended meanwhile may have rewritten both
                manifest.check(name, data, self.manifest, self.url)
                entry = self.manifest[name]
            self._words = entry, source_metadata.unpack(data, self.url)
        return self._words[1]

    @property
    def _frame_times(self) -> FrameTimes:
        # Only photon_gpu writes records, and it writes the key "layout" too.
        return FrameTimes(self.folder, self.manifest, unlisted="layout" in self.attrs)

    @property
    def fingerprint(self) -> tuple[Any, ...]:
        """The checksums of all files, which differ if another movie replaces this one."""
        return self._description.opened, sorted(self.manifest.items())

    def with_workers(self, workers: int) -> Movie:
        """Return the same movie, read by this many threads on the CPU."""
        described = replace(self._description, attributes=self.attrs)
        return Movie(self.storage, described, workers=workers, listed=self.manifest)

    def __reduce__(self) -> tuple[Any, ...]:
        described = replace(self._description, attributes=self.attrs)
        return _reopened, (self.storage, described, self._workers, self.manifest)

    def to_dask(self, what: str = "counts") -> Any:
        """Return a lazy dask array, one block per chunk: :func:`photon_gpu.reader.dask_arrays.to_dask`."""
        return import_module("photon_gpu.reader.dask_arrays").to_dask(self, what)

    def to_xarray(self, what: str = "counts") -> Any:
        """Return a lazy xarray with named axes and units: :func:`photon_gpu.reader.dask_arrays.to_xarray`."""
        return import_module("photon_gpu.reader.dask_arrays").to_xarray(self, what)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray:
        return self.read(key, STABILIZED)

    def __iter__(self) -> Iterator[NDArray]:
        for t in range(len(self)):
            yield self[t]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        refuse_no_copy(copy)
        return np.asarray(self[...], dtype)

    def close(self) -> None:
        """Free the memory of cached chunks; the movie can still be read."""
        self._cache = ChunkCache()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _repr_html_(self) -> str:
        return movie_html(self)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        failed = f", FAILS its own check: {', '.join(self.failed_check)}" if self.failed_check else ""
        return (
            f"<Movie {shape} {self.encoding.dtype}, {self.layout}, step {self.step}, "
            f"{self.channel_noise or self.noise}, at "
            f"{self.url}"
            f"{failed}>"
        )

    def read(self, key: Any, what: Values) -> NDArray:
        """Read the values of an index, stabilized, or in the movie's units as a dtype."""
        selection = Selection(key, self.shape)
        dtype = dtype_of(what)
        nbytes = math.prod(selection.shape) * dtype.itemsize
        if nbytes > memory_bytes():
            raise InvalidInputError(
                f"{selection.shape} values as {dtype.name} take {nbytes:,} bytes; this machine has "
                f"{memory_bytes():,}: read fewer frames at a time"
            )
        gpu = self._layout.backend.gpu if self.device == "gpu" else None
        if gpu is not None:
            return self._read_on_gpu(gpu, selection, what, dtype)
        if not nbytes:
            return np.empty(selection.shape, dtype)
        out = np.empty(selection.filled, dtype)
        self._fill(out, selection, what)
        arranged: NDArray = selection.arranged(out)
        return arranged[()] if selection.scalar else arranged

    def _fill(self, out: NDArray, selection: Selection, what: Values) -> None:
        frames = selection.frames

        def copy_share(share: Share, data: bytes, split: Split) -> None:
            low, high = share.span
            if selection.whole and share.straight:
                to = out.reshape(len(frames), *self.shape[1:])[share.where[0] : share.where[0] + high - low]
                self._decoded(share, data, split, what=what, out=to)
            else:
                selection.put(out, share, self._decoded(share, data, split, what=what, rows=selection.rows))

        for _ in self._each_chunk(frames, copy_share):
            pass

    def _read_on_gpu(self, gpu: GpuCoder, selection: Selection, what: Values, dtype: np.dtype) -> Any:
        if not math.prod(selection.shape):
            return gpu.empty(selection.shape, dtype)
        frames, places = selection.needed()
        block = gpu.empty((len(frames), *self.shape[1:]), dtype)
        for share, decoded in self._each_chunk(frames, partial(self._decoded, what=what)):
            gpu.copy_frames(block, share.where, decoded, share.inside - share.span[0])
        return selection.taken(block, places)

    def _each_chunk(
        self, frames: NDArray[np.int64], work: Callable[[Share, bytes, Split], Any]
    ) -> Iterator[tuple[Share, Any]]:
        """Call ``work(share, data, split)`` for each chunk that the index needs, in order, a few at once."""
        needed = list(shares(frames, self.chunks[0]))

        def one(share: Share, split: Split, data: bytes | None = None) -> Any:
            data = self.chunk_bytes(share.number) if data is None else data
            try:
                return work(share, data, split)
            except CorruptDataError as error:
                raise CorruptDataError(f"{self.folder.unreadable(share.number)}: {error}") from error

        if len(needed) == 1:
            yield needed[0], one(needed[0], self._all_threads)
            return
        gpu = self._layout.backend.gpu
        at_once = gpu.chunks_in_flight if gpu else self._chunks_at_once()
        with Pool("photon-open", at_once) as pool:
            ahead: deque[tuple[Share, Calls]] = deque()
            # Local files are read by the threads that decode them; others are fetched ahead.
            far = None if self.storage.local else self._fetch([share.number for share in needed])
            for number, share in enumerate(needed):
                split = split_chunk(number, len(needed), at_once, self._workers, self._all_threads.run)
                data = () if far is None else (next(far)[1],)
                ahead.append((share, pool.submit(one, share, split, *data)))
                if len(ahead) > at_once:
                    share, opened = ahead.popleft()
                    yield share, opened.result()
            for share, opened in ahead:
                yield share, opened.result()

    def _chunks_at_once(self) -> int:
        """Number of chunks to decode at once: several keep all cores busy, and memory limits them."""
        return max(1, min(self._workers + 1, _IN_FLIGHT_BYTES // (4 * math.prod(self.chunks))))

    def _decoded(
        self,
        share: Share,
        data: bytes,
        split: Split,
        *,
        what: Values,
        out: NDArray | None = None,
        rows: tuple[int, int] | None = None,
    ) -> Any:
        """Return the frames of a share's span, in ``out`` if it is set; only rows in ``rows`` are defined."""
        low, high = share.span
        number, height = share.number, math.prod(self.shape[1:-1])
        frames = len(self.folder.frames_of(number))
        part = ChunkPart(self.chunks, low, high, rows, number)
        on_gpu = self.device == "gpu"
        decode: Callable[..., Any] = self._layout.decode_on_gpu if on_gpu else self._layout.decode
        whole = self._cache.get(number, str(what))
        all_of_it = high - low == frames and rows in (None, (0, height))
        if whole is None and self._in_part(number, all_of_it):
            return self._layout.decode_part(data, part, what, split, out=out)
        if self.layout != "compact" or (out is not None and high - low == frames):
            return decode(data, part, what, split, **({} if on_gpu else {"out": out}))
        # A chunk that is requested twice in a row is decoded and cached as a whole.
        if whole is None:
            whole = decode(data, replace(part, start=0, stop=frames), what, split)
            self._cache.put(number, str(what), whole, whole.nbytes)
        if out is None:
            return whole[low:high]
        out[...] = whole[low:high]
        return out

    def _in_part(self, number: int, all_of_it: bool) -> bool:
        """Whether to decode only the needed part of a chunk: not if the next request may need the rest."""
        if self.device == "gpu" or all_of_it or self.ndim < 2:
            return False
        if self.layout != "compact":
            return True
        # Without a manifest, only the checksum over all codes detects damage.
        return bool(self.manifest) and not self._cache.asked_before(number)

    def _fetch(self, numbers: list[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the bytes of chunks in order, and fetch a few ahead."""
        if len(numbers) == 1:
            yield numbers[0], self.chunk_bytes(numbers[0])
            return
        with Pool("photon-fetch", _FETCHES) as pool:
            ahead: list[tuple[int, Calls]] = []
            rest = iter(numbers)
            while True:
                while len(ahead) < _FETCHES and (number := next(rest, None)) is not None:
                    ahead.append((number, pool.submit(self.chunk_bytes, number)))
                if not ahead:
                    return
                number, fetched = ahead.pop(0)
                yield number, fetched.result()

    def chunk_bytes(self, number: int) -> bytes:
        """Read a chunk file and compare it with the manifest."""
        number = whole_number("number", number, 0)
        if number >= (count := self.folder.chunk_count):
            raise InvalidInputError(f"number is {shown(number)}; {self.url} has chunks 0 to {count - 1}")
        cached = self._cache.get(number, STORED)
        if cached is not None:
            return bytes(cached)
        data = self.folder.read_chunk(number, self.manifest)
        if not self.manifest and isinstance(self._layout, SealedFrames):
            try:
                self._layout.check_proof(data, number)
            except CorruptDataError as error:
                raise CorruptDataError(f"{self.folder.unreadable(number)}: {error}") from error
        self._cache.put(number, STORED, data, len(data))
        return data

    @property
    def manifest(self) -> dict[str, list[Any]]:
        """Size and checksum of each file; empty if the store has no manifest."""
        if self._manifest is None:
            try:
                data = self.storage.read(manifest.NAME)
            except FileNotFoundError:
                self._manifest = {}
                self._miss_manifest()
            else:
                index = manifest.read(data, self.url)
                for name, opened in self._description.opened.items():
                    manifest.check_opened(name, opened, index.files, self.storage)
                if isinstance(self.storage, OmeZarrStorage) and index.container:
                    self.storage.trust(index)  # saves a request for the index of each shard
                self._manifest = index.files
        return self._manifest

    def _miss_manifest(self) -> None:
        """Warn once if a store has lost its manifest; stores of other programs never had one."""
        with self._lock:
            if self._missed or "layout" not in self.attrs:
                return
            self._missed = True
        if self.encoding.movie_id is not None:
            left = "its chunks are checked by their own numbers and checksums"
        elif self.layout == "compact":
            left = "its chunks show that they are whole, but not whether they are in the right order"
        else:
            left = "nothing shows whether its chunks are whole and in the right order"
        warnings.warn(
            f"{self.url} has lost its {manifest.NAME}: {left}. See 'photon-gpu verify', then "
            f"'photon-gpu repair'",
            PhotonWarning,
            stacklevel=2,
        )


class ChannelMovie(Movie):
    """One channel of a movie: :meth:`Movie.channel`.

    Parameters
    ----------
    movie : Movie
    number : int
    """

    def __init__(self, movie: Movie, number: int) -> None:
        self.__dict__.update(movie.__dict__)
        self._movie, self._number = movie, number
        self._cache, self._lock = ChunkCache(), threading.Lock()
        self._narrow()

    def _take(self, description: Description) -> None:
        """Set all attributes that come from the movie's metadata; a growing movie sets them again."""
        super()._take(description)
        self._narrow()

    def _narrow(self) -> None:
        whole = self._movie._layout
        self._layout = whole.channels[self._number]
        self.encoding = self._layout.encoding
        self.shape, self.chunks = whole.channel_shape(self.shape), whole.channel_shape(self.chunks)

    @property
    def recording(self) -> Recording:
        """Metadata of the recording, for this channel."""
        recording = self._movie.recording
        axes, names = recording.axes, recording.channel_names
        return recording.replace(
            axes=None if axes is None else axes.replace("c", ""),
            channel_names=names[self._number : self._number + 1],
        )

    @property
    def axes(self) -> str | None:
        """Names of the axes, without the axis of channels."""
        return self.recording.axes

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The name of this channel; empty if unknown."""
        return self.recording.channel_names

    @property
    def fingerprint(self) -> tuple[Any, ...]:
        """The checksums of all files, and the number of the channel."""
        return (*super().fingerprint, self._number)

    def with_workers(self, workers: int) -> Movie:
        """Return the same channel, read by this many threads on the CPU."""
        return ChannelMovie(self._movie.with_workers(workers), self._number)

    def __reduce__(self) -> tuple[Any, ...]:
        return ChannelMovie, (self._movie, self._number)


def _reopened(
    storage: Storage, described: Description, workers: int | None, listed: dict[str, list[Any]]
) -> Movie:
    return Movie(storage, described, workers=workers, listed=listed)
