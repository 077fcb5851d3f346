"""Record frames into a growing movie, so that no acknowledged frame is lost."""

from __future__ import annotations

import math
import os
import threading
import uuid
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from photon_gpu.check import warn_failed_checks
from photon_gpu.check.fidelity.property_verdicts import ReportLine
from photon_gpu.encode_settings import RecordSettings, location
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import (
    FidelityWarning,
    InvalidInputError,
    PhotonError,
    QueueFullError,
    RecordingError,
    quoting,
)
from photon_gpu.live.frame_check import FrameCheck
from photon_gpu.live.pipeline.encoder import is_estimate, resolve_noise
from photon_gpu.live.pipeline.pipeline import Pipeline
from photon_gpu.live.spool.journaling import Journaling
from photon_gpu.live.spool.spool import Spool
from photon_gpu.live.state.config import OWN_ATTRIBUTES, LiveConfig
from photon_gpu.live.state.filling_chunks import Chunk
from photon_gpu.live.state.retrying import error_text
from photon_gpu.live.state.status import LiveStatus
from photon_gpu.recording import NOTHING, Document, Recording
from photon_gpu.store import manifest, metadata, source_metadata
from photon_gpu.store.claim import Claim
from photon_gpu.store.destination import destination
from photon_gpu.store.frame_records import Record, check
from photon_gpu.store.ome_zarr.pyramid_levels import PYRAMID
from photon_gpu.store.ome_zarr.zarr2_view import in_container, recorded
from photon_gpu.store.storage import Storage
from photon_gpu.writer.encode import beside_files
from photon_gpu.writer.ome_zarr_axes_and_shards import check_container
from photon_gpu.writer.warmup import warm_up

_DRAIN_SECONDS = 10.0  # to write the last frames to the journal if a recording fails


class LiveWriter:
    """Record frames as they arrive.

    Parameters
    ----------
    url : str, path or Storage
        Destination, which must not exist. A name that ends in ``.ome.zarr`` is that of an OME-Zarr movie.
    frame_shape : tuple of int
        ``(H, W)`` or more axes.
    dtype : dtype
        Dtype of the frames, which are never cast.
    noise : NoiseModel, callable, str, path or Movie, optional
        The detector's model. A function gets the first ``estimate_frames`` frames and returns the model. A
        path or Movie is an earlier recording, whose model is used. ``"auto"`` (default) uses
        :func:`photon_gpu.estimate_noise` and keeps the estimate with the movie. If no model can be estimated,
        the movie is stored lossless, and :meth:`status` says so. A stated model is compared with the movie:
        if they contradict each other, :meth:`status` and :meth:`close` warn, and the recording goes on.
    layout, step, preset, predictor, compressor, dither, peaks, backend, workers, storage_options
        See :func:`photon_gpu.encode`; the preset tries its candidates on the first chunk.
    axes : str, optional
        Names of the movie's axes, time first: ``"tcyx"`` for frames ``(c, y, x)``. Each channel gets its own
        noise model, unless one model is stated for all; ``noise`` may be a list with one per channel.
    durability : {"frame", "chunk"}
        When a frame counts as acknowledged. ``"frame"``: once it is on the spool's disk, where it survives a
        kill or a power cut. ``"chunk"``: once its chunk is published in the store, or on the spool's disk.
    spool : path, optional
        Folder on a fast local disk, for the journal of ``"frame"`` and for chunks that the store refused.
        Default: beside a local destination for ``"frame"``, else none.
    chunk_frames : int, optional
        Default: 100, or fewer, so that four chunks fit the queue.
    queue_bytes : int
        Memory for frames that are not stored yet.
    on_full : {"block", "raise"}
        What :meth:`append` does when the queue is full.
    estimate_frames : int
        Number of frames for the estimate of the noise model; fewer if ``noise`` is not set and the queue
        holds fewer.
    trust_noise : bool
        Whether to use a stated noise model without comparing it with the movie.
    accept_processed : bool
        Whether to quantize frames although the estimate names them as processed. Without it every bit is
        kept, layout lossless.
    publish_seconds : float
        Shortest time between two publications of the growing movie.
    close_seconds : float
        How long :meth:`close` retries if the store fails.
    attributes : dict, optional
        Further JSON values for ``.zattrs``.
    recording : Recording, optional
        Metadata of the source: axes, names, units, documents. Times come with the frames.
    check : bool
        Decode up to 8 chunks, evenly spread, and compare them with the frames. If a line fails, the movie is
        kept and marked (``failed``, ``.zattrs``), and :meth:`close` gives a
        :class:`photon_gpu.FidelityWarning`. :func:`photon_gpu.verify` checks what the store wrote.
    with_decoder : bool
        Store ``photon_decode.py`` with the movie; see :func:`photon_gpu.encode`.
    pyramid : int
        Number of levels below the full resolution of an OME-Zarr movie. They are averaged when the recording
        is closed, which then takes about as long as reading the movie.

    Raises
    ------
    InvalidInputError, UnsupportedTypeError
        A parameter cannot be used.
    StoreExistsError
        The destination exists, or another process is writing there.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> frames = np.random.default_rng(0).poisson(20, (250, 16, 16)).astype("uint16")
    >>> counter = pg.NoiseModel()  # gain 1, offset 0, variance 0
    >>> with pg.LiveWriter("memory://live.zarr", frame_shape=(16, 16), dtype="uint16", noise=counter) as live:
    ...     for t, frame in enumerate(frames):
    ...         acknowledged = live.append(frame, timestamp=t / 30)
    >>> movie = pg.open("memory://live.zarr")
    >>> movie.shape, float(movie.timestamps[30])
    ((250, 16, 16), 1.0)
    """

    def __init__(
        self,
        url: str | os.PathLike[str] | Storage,
        *,
        frame_shape: tuple[int, ...],
        dtype: DTypeLike,
        noise: Any = None,
        layout: str = "compact",
        step: float = 0.5,
        preset: str = "fast",
        predictor: str | None = None,
        compressor: str | None = None,
        dither: int | None = None,
        peaks: int | str = "auto",
        backend: str = "auto",
        workers: int | None = None,
        durability: str = "chunk",
        spool: str | os.PathLike[str] | None = None,
        chunk_frames: int | None = None,
        queue_bytes: float = 512e6,
        on_full: str = "block",
        estimate_frames: int = 100,
        trust_noise: bool = False,
        accept_processed: bool = False,
        publish_seconds: float = 1.0,
        close_seconds: float = 60.0,
        storage_options: dict[str, Any] | None = None,
        attributes: dict[str, Any] | None = None,
        recording: Recording | None = None,
        check: bool = True,
        axes: str | None = None,
        with_decoder: bool = False,
        pyramid: int = 0,
    ) -> None:
        settings = RecordSettings(
            layout=layout,
            step=step,
            preset=preset,
            predictor=predictor,
            compressor=compressor,
            dither=dither,
            peaks=peaks,
            chunk_frames=chunk_frames,
            backend=backend,
            workers=workers,
            trust_noise=trust_noise,
            accept_processed=accept_processed,
            check=check,
            attributes={} if attributes is None else attributes,
            durability=durability,
            on_full=on_full,
            queue_bytes=queue_bytes,  # type: ignore[arg-type]  # the settings convert it to a whole number
            estimate_frames=estimate_frames,
            publish_seconds=publish_seconds,
            close_seconds=close_seconds,
            axes=axes,
            with_decoder=with_decoder,
            pyramid=pyramid,
        )
        self._begin(settings, url, frame_shape, dtype, noise, spool, storage_options, recording)

    @classmethod
    def with_settings(
        cls,
        settings: RecordSettings,
        url: str | os.PathLike[str] | Storage,
        *,
        frame_shape: tuple[int, ...],
        dtype: DTypeLike,
        noise: Any = None,
        spool: str | os.PathLike[str] | None = None,
        storage_options: dict[str, Any] | None = None,
        recording: Recording | None = None,
    ) -> LiveWriter:
        """Begin a recording with prepared settings.

        Parameters
        ----------
        settings : RecordSettings
        noise : optional
            Default: the noise model of the settings. A callable, a path or a movie can only be passed here.
        url, frame_shape, dtype, spool, storage_options, recording
            See :class:`LiveWriter`.
        """
        writer = cls.__new__(cls)
        noise = settings.noise if noise is None else noise
        writer._begin(settings, url, frame_shape, dtype, noise, spool, storage_options, recording)
        return writer

    def _begin(
        self,
        settings: RecordSettings,
        url: str | os.PathLike[str] | Storage,
        frame_shape: tuple[int, ...],
        dtype: DTypeLike,
        noise: Any,
        spool: str | os.PathLike[str] | None,
        storage_options: dict[str, Any] | None,
        recording: Recording | None,
    ) -> None:
        self._storage = recorded(in_container(destination(url, storage_options), None))
        attributes = metadata.as_read(settings.attributes)
        metadata.check_extra(dict.fromkeys(OWN_ATTRIBUTES), attributes)
        if recording is not None and not isinstance(recording, Recording):
            raise InvalidInputError(
                f"recording is a {type(recording).__name__}; a Recording is needed, or None"
            )
        recording = recording or NOTHING
        if settings.axes is not None:
            recording = recording.replace(axes=settings.axes)
        elif recording.axes is not None and len(recording.axes) == len(frame_shape) + 1:
            settings = settings.replace(axes=recording.axes)
        self.config = config = LiveConfig.of(settings, frame_shape, dtype)
        recording = self._without_times(recording)
        check_container(self._storage, recording, (1, *config.frame_shape), settings)
        attributes = source_metadata.with_recording(attributes, recording)
        model = resolve_noise(noise, config.layout, storage_options)
        if isinstance(model, tuple):
            self.config = config = config.replace(noise=model)
        if callable(model) and noise is None:
            self.config = config = config.with_fewer()
        elif callable(model):
            config.check_estimate()
        self._frames_before_encoding = config.estimate_frames if callable(model) else 1
        backend = get_backend(config.backend)
        encoding = config.encoding_of(model if isinstance(model, NoiseModel | tuple) else None)
        warm_up(backend, encoding, config.preset)
        self._frame_check = FrameCheck(
            config.frame_shape, np.dtype(config.dtype), config.frames_per_chunk, backend, config.channel_axis
        )
        if config.layout == "lossless" or not callable(model):
            self._frame_check.expect(layout_for(encoding, backend))
        self._spool: Spool | None = None
        self._claim_of_folder: Claim | None = None
        try:
            token = self._claim(spool, model, attributes)
            words = self._write_words(recording)
            self._journal = self._spool.journal() if self._spool and config.durability == "frame" else None
            self._pipeline = Pipeline(
                self._storage,
                config,
                token=token,
                spool=self._spool,
                recycler=self._journal,
                noise=model,
                backend=backend,
                workers=config.threads,
                attributes={**attributes, "recording_id": token},
                fits=self._frame_check.expect,
                files=words,
            )
        except BaseException:
            if self._spool is not None:
                self._spool.remove()
            if self._claim_of_folder is not None:
                self._claim_of_folder.withdraw()
            raise
        self._ledger = self._pipeline.ledger
        self._journaling = None
        if self._journal is not None:
            assert self._spool is not None
            self._journaling = Journaling(
                self._journal, self._ledger, self._pipeline.buffers, self._spool.count
            )
        self._appending = threading.Lock()
        self._saved_words: dict[str, Document] = {}  # documents in the spool
        self._abandoned = threading.Event()
        self._chunk: Chunk | None = None
        self._closed = False

    @property
    def url(self) -> str:
        """URL of the movie."""
        return self._storage.url

    @property
    def spool(self) -> str | None:
        """Folder for :func:`photon_gpu.recover` if this process is killed."""
        return str(self._spool.folder) if self._spool else None

    @property
    def acknowledged(self) -> int:
        """Number of frames, from the first, that survive a kill or a power cut."""
        with self._ledger.changed:
            return self._ledger.acknowledged

    @property
    def checks(self) -> tuple[ReportLine, ...]:
        """Lines of the check; empty until the recording is closed."""
        return self._pipeline.lines

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the failed lines of the check; empty until the recording is closed."""
        return tuple(line.name for line in warn_failed_checks.failing(self.checks))

    def append(self, frames: Any, *, timestamp: Any = None, metadata: Any = None, wait: bool = True) -> int:
        """Append one frame or a batch of frames. Several threads may call this.

        Parameters
        ----------
        frames : array
            ``frame_shape`` or ``(n, *frame_shape)``, NumPy or CuPy, copied before this returns.
        timestamp : number or sequence of numbers, optional
            One per frame.
        metadata : dict or sequence of dict, optional
            One per frame, of values that JSON can hold.
        wait : bool
            With durability ``"frame"``, return once these frames are acknowledged. If False, return at once;
            the journal syncs frames together, and the result is the number acknowledged so far.

        Returns
        -------
        int
            Frames acknowledged so far, counted from the first.

        Raises
        ------
        InvalidInputError, UnsupportedTypeError
            These frames cannot be encoded; none of them was accepted.
        QueueFullError
            The queue is full, with ``on_full="raise"``; none of the frames was accepted.
        RecordingError
            The recording ended; the message says why.
        """
        began = perf_counter()
        block = self._frame_check.block(frames)
        records = check(len(block), timestamp, metadata)
        with self._appending:
            self._check_open()
            self._settle()
            if self.config.on_full == "raise":
                self._check_room(len(block))
            self._frame_check.admit(block, self._ledger.frames_in)
            accepted = self._accept(block, records)
        if wait and self._journaling is not None:
            self._wait_for(accepted)
        return self._ledger.appended(perf_counter() - began)

    def status(self) -> LiveStatus:
        """Return counts, rates and problems; ``str()`` gives one line."""
        ledger, buffers, spool = self._ledger, self._pipeline.buffers, self._spool
        rate = ledger.rate()
        used = buffers.used_bytes
        free = self.config.queue_bytes - used
        if spool is not None:
            free += spool.free_bytes
        with ledger.changed:
            return LiveStatus(
                frames_in=ledger.frames_in,
                frames_acknowledged=ledger.acknowledged,
                frames_stored=ledger.published,
                queue_bytes=used,
                queue_limit_bytes=self.config.queue_bytes,
                spool_bytes=spool.nbytes if spool is not None else 0,
                megabytes_per_second=rate / 1e6,
                ratio=ledger.raw_bytes / ledger.stored_bytes if ledger.stored_bytes else math.nan,
                worst_append_seconds=ledger.worst_append_seconds,
                buffer_seconds=free / rate if rate > 0 else math.inf,
                retries=ledger.retries,
                trouble=ledger.trouble,
                notes=ledger.notes,
                warnings=ledger.warnings,
                seconds=monotonic() - ledger.began,
            )

    def append_seconds(self, share: float) -> float:
        """Return a quantile of the duration of the last 10,000 appends, as in ``append_seconds(0.99)``."""
        return self._ledger.append_seconds(share)

    def close(self) -> None:
        """Store the remaining frames and finish the movie. A second call does nothing.

        Raises
        ------
        StoreUnavailableError, RecordingError
            The first failure of the recording; the message says where the frames are.

        Warns
        -----
        PhotonWarning
            The movie contradicts the stated noise model. The movie is whole.
        FidelityWarning
            The check fails. The movie is finished and kept, even if the warning is made an error.
        """
        # Ends an append that waits for room in the queue. An interrupt cannot leave the lock taken.
        abandon = threading.Timer(self.config.close_seconds, self._abandoned.set)
        abandon.daemon = True
        closing = False
        try:
            try:
                abandon.start()
                with self._appending:
                    if self._closed:
                        return
                    closing = self._closed = True
            finally:
                abandon.cancel()
            self._pipeline.finish(self._submit_rest())
            self._end(finished=True)
        except BaseException as error:  # also an interrupt: the caller must learn where the frames are
            if not closing:
                raise
            self._end(finished=False)
            self._ledger.fail(error)  # wakes threads that wait until their frames are in the journal
            error.add_note(self._whereabouts(self._ledger.frames_in))
            raise
        warn_failed_checks.warn(self.url, self.checks, stacklevel=2)
        self._on_finished()
        self._ledger.tell()

    def __enter__(self) -> LiveWriter:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except (PhotonError, FidelityWarning) as problem:
            if error is None:
                raise
            error.add_note(f"closing the recording failed too: {problem}")

    def _on_finished(self) -> None:
        """Hook for subclasses: act on the finished movie."""

    def __repr__(self) -> str:
        return f"<LiveWriter {self.config.frame_shape} {self.config.dtype} to {self.url}: {self.status()}>"

    def _claim(self, spool: str | os.PathLike[str] | None, noise: Any, attributes: dict[str, Any]) -> str:
        """Claim the folder, and save the spool's path in the marker."""
        spool = None if spool is None else location("spool", spool)
        if spool is None and self.config.durability == "frame":
            if not self._storage.local:
                raise InvalidInputError(
                    "durability='frame' keeps frames on a local disk until they are stored: give a folder "
                    "as spool"
                )
            spool = f"{self._storage.root}.spool"
        token = uuid.uuid4().hex
        levels = {PYRAMID: self.config.pyramid} if self.config.pyramid else {}
        if spool is not None:
            facts = {
                "token": token,
                "url": self._storage.url,
                "config": self.config.to_dict(),
                "noise": _as_json(noise),
                "noise_known": not callable(noise),
                "noise_estimated": is_estimate(noise),
                "attributes": attributes,
                **levels,
            }
            self._spool = Spool.begin(spool, self._storage.root.split("/")[-1], facts)
        folder = str(self._spool.folder) if self._spool else None
        marker = {"token": token, "recording": True, "spool": folder, **levels}
        self._claim_of_folder = Claim(self._storage, overwrite=False, facts=marker).__enter__()
        return token

    def _without_times(self, recording: Recording) -> Recording:
        """Return the recording without timestamps, since each frame has its own."""
        fitted = recording.replace(timestamps=None).fitted((1, *self.config.frame_shape))
        return source_metadata.fitting(fitted)

    def _write_words(self, recording: Recording) -> dict[str, list[Any]]:
        """Write the files beside the chunks before the first frame, and return their manifest entries."""
        files = beside_files(recording, self.config)
        for name, data in files.items():
            self._storage.write(name, data)
        return {name: manifest.entry(data) for name, data in files.items()}

    def describe(self, recording: Recording) -> None:
        """Replace the documents of the recording; they are stored with the chunks that follow.

        Call it before the frames that they belong to: then no kill loses the documents of acknowledged
        frames. They are in the spool when this returns, or in the store before the frames are acknowledged.

        Parameters
        ----------
        recording : Recording
            Only its documents are read: other fields were stored when the recording began.
        """
        recording = self._without_times(recording)
        if not recording.documents:
            return
        with self._appending:
            if self._spool is not None:
                try:
                    self._save_words(self._spool, recording.documents)
                except OSError as error:  # frames matter more
                    self._ledger.note_trouble(
                        f"source metadata are not in the spool yet: {error_text(error)}"
                    )
            self._pipeline.replace_words(recording)

    def _save_words(self, spool: Spool, documents: tuple[Document, ...]) -> None:
        """Save the documents that the spool does not have."""
        added = tuple(one for one in documents if self._saved_words.get(one.name) != one)
        if (data := source_metadata.pack(Recording(documents=added))) is not None:
            spool.add_words(data)
            self._saved_words.update((one.name, one) for one in added)

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidInputError("the recording is closed: it accepts no more frames")
        with self._ledger.changed:
            error = self._ledger.error
        if error is not None:
            raise self._ended(error) from error

    def _check_room(self, frames: int) -> None:
        room = self._pipeline.buffers.free * self.config.frames_per_chunk
        room += self._chunk.room if self._chunk else 0
        if frames <= room:
            return
        most = self.config.chunks * self.config.frames_per_chunk
        advice = "append them again" if frames <= most else f"the queue holds {most}: append fewer at once"
        raise QueueFullError(
            f"{frames} frames arrived, the queue has room for {room} ({self.config.queue_bytes:,} bytes in "
            f"all); none was accepted: {advice}, or give a larger queue_bytes or on_full='block'"
        )

    def _accept(self, block: NDArray[Any], records: list[Record] | None) -> int:
        """Copy frames into chunks and return the number of frames accepted so far."""
        done = 0
        while done < len(block):
            chunk = self._chunk or self._next_chunk(done)
            count = min(chunk.room, len(block) - done)
            chunk.add(block[done : done + count], records[done : done + count] if records else None)
            done += count
            self._settle()
        return self._ledger.frames_in

    def _settle(self) -> None:
        """Count the frames of the chunk that were copied, and submit it if it is full.

        An interrupt between any two steps, here or in :meth:`_accept`, leaves what the next call completes.
        """
        if (chunk := self._chunk) is None:
            return
        counted = self._ledger.frames_in - chunk.number * self.config.frames_per_chunk
        if (copied := chunk.filled - counted) > 0:
            self._ledger.take(copied, copied * self.config.frame_nbytes)
        if not chunk.room:
            self._pipeline.submit(chunk)
            self._chunk = None

    def _submit_rest(self) -> int:
        """Submit the last chunk, unless an interrupt left it empty; return the number of frames."""
        self._settle()
        if (chunk := self._chunk) is not None:
            if chunk.filled:
                self._pipeline.submit(chunk)
            else:
                self._pipeline.buffers.release(chunk)
            self._chunk = None
        return self._ledger.frames_in

    def _next_chunk(self, accepted: int) -> Chunk:
        number = self._ledger.frames_in // self.config.frames_per_chunk
        while (chunk := self._pipeline.buffers.take(number, 0.2)) is None:
            with self._ledger.changed:
                error = self._ledger.error
            if error is not None or self._abandoned.is_set():
                why = error or "it was closed while an append waited for room"
                raise self._ended(why, f"; {accepted} frames of this append had been accepted") from error
        if self._journaling is not None:
            self._journaling.follow(chunk)
        self._chunk = chunk
        return chunk

    def _wait_for(self, frames: int) -> None:
        with self._ledger.changed:
            while self._ledger.acknowledged < frames:
                if (error := self._ledger.error) is not None:
                    raise self._ended(error) from error
                self._ledger.changed.wait(1.0)

    def _ended(self, why: object, accepted: str = "") -> RecordingError:
        rest = f"{accepted}; {self._whereabouts(self._ledger.frames_in)}"
        return RecordingError(quoting("the recording ended: ", why, rest))

    def _whereabouts(self, frames: int) -> str:
        with self._ledger.changed:
            safe, stored = self._ledger.acknowledged, self._ledger.published
        counts = f"{stored:,} of {frames:,} frames are in the store"
        if self._spool is not None:
            return (
                f"{counts}, {safe:,} are safe; photon_gpu.recover({str(self._spool.folder)!r}) stores the "
                f"rest, {frames - safe:,} are lost"
            )
        return f"{counts}; the others are lost: there was no spool to keep them"

    def _end(self, *, finished: bool) -> None:
        if self._journaling is not None:
            self._journaling.stop(0.0 if finished else _DRAIN_SECONDS)
        self._pipeline.stop()
        if self._spool is not None:
            try:
                if finished:
                    self._spool.remove()
            except OSError as error:  # the movie is whole, so recover() would only remove the spool
                self._ledger.note_trouble(
                    f"the spool {self._spool.folder} could not be removed: {error_text(error)}"
                )
            finally:
                self._spool.release()


def _as_json(noise: Any) -> Any:
    """Stated noise models as JSON; None if they are estimated."""
    if isinstance(noise, tuple):
        return [model.to_dict() for model in noise]
    return noise.to_dict() if isinstance(noise, NoiseModel) else None
