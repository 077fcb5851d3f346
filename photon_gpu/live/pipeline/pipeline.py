"""The pipeline from full chunks to a published movie: encoder, chunk writer and publisher."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from photon_gpu.check import warn_failed_checks
from photon_gpu.check.fidelity.property_verdicts import ReportLine
from photon_gpu.check.fidelity.sample_during_encode import ChunkSample
from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.errors import RecordingError, StoreUnavailableError, quoting
from photon_gpu.live.pipeline.chunk_writer import ChunkWriter
from photon_gpu.live.pipeline.encoder import Encoder, NoiseOrEstimator
from photon_gpu.live.pipeline.publisher import Publisher
from photon_gpu.live.pipeline.unstored_chunks import Keeper
from photon_gpu.live.spool.journal import Journal
from photon_gpu.live.spool.spool import Spool
from photon_gpu.live.state.config import LiveConfig
from photon_gpu.live.state.filling_chunks import Chunk, ChunkBuffers
from photon_gpu.live.state.ledger import Ledger
from photon_gpu.live.state.retrying import error_text
from photon_gpu.recording import Recording
from photon_gpu.store import metadata
from photon_gpu.store.movie_folder import MovieFolder
from photon_gpu.store.storage import Storage


class Pipeline:
    """Encodes, stores and publishes full chunks.

    Parameters
    ----------
    storage : Storage
        The folder of the movie, which is claimed already.
    config : LiveConfig
    token : str
        Token of the claim and of the recording.
    spool : Spool or None
    recycler : Journal or None
    noise, backend, workers
        See :class:`~photon_gpu.live.pipeline.encoder.Encoder`.
    attributes : dict
        The caller's attributes for ``.zattrs``.
    fits : callable, optional
        ``fits(layout)`` is called before a layout is chosen; it raises InvalidInputError if frames that were
        accepted do not fit.
    published, files
        Number of frames, and manifest entries, that an earlier run published.
    failed_check : dict, optional
        Record of an earlier failed check in ``.zattrs``.

    Attributes
    ----------
    lines : tuple of ReportLine
        Lines of the check, once :meth:`finish` returned.
    """

    def __init__(
        self,
        storage: Storage,
        config: LiveConfig,
        *,
        token: str,
        spool: Spool | None,
        recycler: Journal | None,
        noise: NoiseOrEstimator,
        backend: Backend,
        workers: int,
        attributes: dict[str, Any],
        fits: Callable[[Layout], None] | None = None,
        published: int = 0,
        files: dict[str, list[Any]] | None = None,
        failed_check: dict[str, Any] | None = None,
    ) -> None:
        self.config, self._storage, self._spool = config, storage, spool
        self._attributes = attributes
        self.ledger = Ledger(config.durability, config.frames_per_chunk, published=published)
        self.buffers = ChunkBuffers(config)
        self.layout: Layout | None = None
        self.lines: tuple[ReportLine, ...] = ()
        self._sample = ChunkSample() if config.check else None
        keeper = Keeper(self.ledger, spool)
        self._chunk_writer = ChunkWriter(
            MovieFolder((published, *config.frame_shape), config.chunk(), storage),
            self.ledger,
            spool,
            keeper,
            frame_nbytes=config.frame_nbytes,
        )
        self._publisher = Publisher(
            storage,
            self.ledger,
            keeper,
            spool=spool,
            recycler=recycler,
            token=token,
            interval=config.publish_seconds,
            files=files or {},
            failed_check=failed_check,
        )
        self._encoder = Encoder(
            config,
            noise,
            backend,
            workers,
            token=token,
            fits=fits,
            chosen=self._chosen,
            done=self._chunk_writer.send,
            released=self.buffers.release,
            failed=self.ledger.fail,
            on_note=self.ledger.note,
            warned=self.ledger.warn,
            sample=self._sample,
        )

    def describe(self, layout: Layout, chunk: tuple[int, ...]) -> None:
        """Use the layout of an earlier run."""
        self._chosen(layout, chunk, keep=False)
        self._encoder.describe(layout, chunk)

    def submit(self, chunk: Chunk) -> None:
        """Encode, send and publish a chunk."""
        self._encoder.submit(chunk)

    def send_kept(self, chunk: int, frames: int) -> None:
        """Store and publish an encoded chunk of the spool."""
        self._chunk_writer.send_kept(chunk, frames)

    def finish(self, frames: int) -> int:
        """Publish all ``frames``, finish the movie, and return the size of its metadata.

        Raises
        ------
        StoreUnavailableError
            Nothing was stored for ``close_seconds``.
        RecordingError
            A chunk could not be encoded, or another process took the recording over.
        """
        self._encoder.submit(None)
        self._chunk_writer.patience.hurry()
        self._publisher.finish()
        ledger, limit = self.ledger, self.config.close_seconds
        seen, since = self._progress(), monotonic()
        with ledger.changed:
            while ledger.published < frames and ledger.error is None:
                ledger.changed.wait(0.2)
                if (now := self._progress()) != seen or self._encoder.busy:
                    seen, since = now, monotonic()
                if monotonic() - since > limit:
                    break
            missing, trouble, error = frames - ledger.published, ledger.trouble, ledger.error
        if error is not None:
            raise RecordingError(
                quoting(f"{self._storage.url}: the recording ended early: ", error)
            ) from error
        if missing:
            raise StoreUnavailableError(
                f"{self._storage.url}: nothing could be stored for {limit:g} s ({trouble or 'no answer'}); "
                f"{missing:,} frames of {frames:,} are not in the store"
            )
        if self._sample is not None:
            self.lines = self._sample.finish(frames, limit)
            self._publisher.note_check(warn_failed_checks.to_keep(self.lines))
        return self._complete(frames)

    def _complete(self, frames: int) -> int:
        limit = threading.Timer(self.config.close_seconds, self._publisher.patience.stopping.set)
        limit.daemon = True
        limit.start()
        try:
            return self._publisher.complete() if frames else self._publisher.withdraw()
        except RecordingError:
            raise
        except Exception as error:
            raise StoreUnavailableError(
                f"{self._storage.url}: every frame is in the store, but the last metadata could not be "
                f"written ({error_text(error)})"
            ) from error
        finally:
            limit.cancel()

    def replace_words(self, recording: Recording) -> None:
        """Store the documents of a recording with the next manifest; call it before :meth:`finish`."""
        self._publisher.replace_words(recording)

    def stop(self) -> None:
        """Stop all threads."""
        self._chunk_writer.stop()
        self._publisher.stop()

    def _progress(self) -> tuple[int, int, int]:
        with self.ledger.changed:
            return self.ledger.published, len(self.ledger.stored), self.buffers.free

    def _chosen(self, layout: Layout, chunk: tuple[int, ...], keep: bool = True) -> None:
        attributes = {**self._attributes, **self._encoder.attributes}
        if keep and self._spool is not None:
            array = metadata.array_json(chunk, chunk, layout)
            try:
                self._spool.keep_encoding(array, metadata.attributes_json(chunk, layout, attributes))
            except OSError as problem:  # the spool retries before it saves a chunk
                self.ledger.note_trouble(error_text(problem))
        self.layout = layout
        self._publisher.describe(layout, chunk, attributes)
