"""Publish stored chunks: write the manifest, then ``.zarray`` with a longer shape."""

from __future__ import annotations

import math
from time import monotonic
from typing import Any

from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.runtime.service_thread import ServiceThread
from photon_gpu.errors import RecordingError
from photon_gpu.live.pipeline.unstored_chunks import Keeper
from photon_gpu.live.spool.journal import Journal
from photon_gpu.live.spool.spool import Spool
from photon_gpu.live.state.ledger import Ledger
from photon_gpu.live.state.retrying import Patience, again, error_text
from photon_gpu.recording import Recording
from photon_gpu.store import manifest, metadata, source_metadata
from photon_gpu.store.claim import MARKER, Claim, read_marker
from photon_gpu.store.ome_zarr.recorded_shards import RecordedShards
from photon_gpu.store.storage import Storage

_PATIENCE_SECONDS = 5.0
_PACKING_PAUSE = 20  # times as long as it took to pack source metadata that change


class Publisher:
    """Publishes stored chunks in order, then drops them from the spool.

    Order of writing: chunks (:class:`~photon_gpu.live.pipeline.chunk_writer.ChunkWriter`), manifest,
    ``.zattrs`` (once), ``.zarray``. A reader that sees a length therefore finds all its chunks and their
    checksums.

    Parameters
    ----------
    storage : Storage
    ledger : Ledger
    keeper : Keeper
        Records chunks that are stored but cannot be published.
    spool : Spool or None
    recycler : Journal or None
        Reuses segments that are no longer needed.
    token : str
        Token of the marker. If the marker holds another token, another process took the folder over.
    interval : float
        Least number of seconds between two publications.
    files : dict
        Manifest entries that an earlier run published.
    failed_check : dict or None
        Record of an earlier failed check in ``.zattrs``.
    """

    def __init__(
        self,
        storage: Storage,
        ledger: Ledger,
        keeper: Keeper,
        *,
        spool: Spool | None,
        recycler: Journal | None,
        token: str,
        interval: float,
        files: dict[str, list[Any]],
        failed_check: dict[str, Any] | None,
    ) -> None:
        self._storage, self._ledger, self._keeper = storage, ledger, keeper
        self._spool, self._recycler = spool, recycler
        self._token, self._interval = token, interval
        self._shards = RecordedShards(storage)
        self._files = dict(files)
        self._failed_check = failed_check
        self._attributes_stored = False  # in their current form; an earlier run may have stored others
        self._words: Recording | None = None  # its documents replace the initial ones
        self._packed: tuple[Recording | None, bytes | None] = (None, None)
        self._packing_seconds = 0.0
        self._stored_words: bytes | None = None
        self._layout: Layout | None = None
        self._chunk: tuple[int, ...] = ()
        self._attributes: dict[str, Any] = {}
        self._finishing = False
        self.patience = Patience()
        self._thread = ServiceThread("photon-publish", self._work)

    def describe(self, layout: Layout, chunk: tuple[int, ...], attributes: dict[str, Any]) -> None:
        """Set the content of the metadata; call it before the first chunk is sent."""
        self._layout, self._chunk, self._attributes = layout, chunk, attributes

    def note_check(self, failed: dict[str, Any] | None) -> None:
        """Store the verdict of a failed check; call it before :meth:`complete`."""
        if failed is not None:
            self._failed_check, self._attributes_stored = failed, False

    def replace_words(self, recording: Recording) -> None:
        """Store these documents with the next manifest; call it before :meth:`complete`.

        Chunks that are sent later are published with them, or after them.
        """
        self._words = recording

    def _packed_words(self) -> bytes | None:
        """Return the source metadata that replace the initial ones, packed; None if there are none."""
        if (recording := self._words) is not None and recording is not self._packed[0]:
            began = monotonic()
            self._packed = recording, source_metadata.pack(recording)
            self._packing_seconds = monotonic() - began
        return self._packed[1]

    def _pause(self) -> float:
        """Least seconds to the next publication: the documents of thousands of files take long to pack."""
        packed = self._words is self._packed[0]
        return self._interval if packed else max(self._interval, _PACKING_PAUSE * self._packing_seconds)

    def _store_words(self, texts: dict[str, bytes]) -> None:
        """Store source metadata that were replaced; the manifest does not list them meanwhile."""
        words = self._packed_words()
        if words is None or words is self._stored_words:
            return
        self._files.pop(source_metadata.NAME, None)
        self._storage.write(manifest.NAME, manifest.pack(self._files, texts))
        self._storage.write(source_metadata.NAME, words)
        self._files[source_metadata.NAME] = manifest.entry(words)
        self._stored_words = words

    def finish(self) -> None:
        """Publish the remaining chunks without waiting."""
        self.patience.hurry()
        with self._ledger.changed:
            self._finishing = True
            self._ledger.changed.notify_all()

    def complete(self) -> int:
        """Write the final manifest and ``.zarray``, remove the marker, and return the metadata's bytes."""
        assert self._layout is not None
        layout, shape = self._layout, (self._ledger.published, *self._chunk[1:])
        array = metadata.array_json(shape, self._chunk, layout)
        attributes = metadata.attributes_json(shape, layout, self._attributes, self._failed_check)
        texts = {metadata.ATTRIBUTES: attributes, metadata.ARRAY: array}
        self._again(lambda: self._shards.join(self._files, last=True))
        self._again(lambda: self._shards.add_levels(self._files, texts))
        meanwhile = dict(self._files)
        words = self._packed_words()
        if words is not None:
            self._files[source_metadata.NAME] = manifest.entry(words)
            meanwhile.pop(source_metadata.NAME, None)
        index = self._shards.manifest(self._files, texts)

        def write() -> None:
            self._check_claim()
            if not self._attributes_stored or words is not None:
                # Like ``.zarray``, this file changes, so the manifest does not list it yet.
                self._storage.write(manifest.NAME, manifest.pack(meanwhile))
                self._storage.write(metadata.ATTRIBUTES, attributes)
            if words is not None:
                self._storage.write(source_metadata.NAME, words)
            self._storage.write(manifest.NAME, index)
            self._storage.write(metadata.ATTRIBUTES, attributes)
            self._storage.write(metadata.ARRAY, array)
            self._shards.finish(texts)

        self._again(write)
        self._again(lambda: self._storage.delete_for_certain(MARKER))
        return len(array) + len(attributes) + len(index)

    def withdraw(self) -> int:
        """Delete the claim of a recording without frames."""
        self._again(Claim(self._storage, overwrite=False).withdraw)
        return 0

    def stop(self) -> None:
        """End the thread."""
        self.patience.stopping.set()
        with self._ledger.changed:
            self._ledger.changed.notify_all()
        self._thread.wait(_PATIENCE_SECONDS)

    def _work(self) -> None:
        last = -math.inf  # the clock may have started just now
        try:
            while True:
                with self._ledger.changed:
                    while not (chunks := self._ledger.publishable()) and not self.patience.stopping.is_set():
                        self._ledger.changed.wait()
                    while (
                        not self._finishing
                        and not self.patience.stopping.is_set()
                        and (rest := last + self._pause() - monotonic()) > 0
                    ):
                        self._ledger.changed.wait(rest)
                    chunks = self._ledger.publishable()
                if self.patience.stopping.is_set():
                    return
                self._publish(chunks)
                last = monotonic()
        except Exception as error:
            if not self.patience.stopping.is_set():
                self._ledger.fail(error)

    def _publish(self, chunks: list[int]) -> None:
        assert self._layout is not None
        with self._ledger.changed:
            stored = [self._ledger.stored[chunk] for chunk in chunks]
            frames = self._ledger.published + sum(count for count, _ in stored)
        for _, files in stored:
            self._files.update(files)
        first = self._ledger.published == 0
        array = metadata.array_json((frames, *self._chunk[1:]), self._chunk, self._layout)
        attributes = metadata.attributes_json(self._chunk, self._layout, self._attributes, self._failed_check)

        def write() -> None:
            self._check_claim()
            self._store_words({metadata.ATTRIBUTES: attributes} if self._attributes_stored else {})
            if not first and not self._attributes_stored:
                # Like ``.zarray``, this file changes, so the manifest does not list it yet.
                self._storage.write(manifest.NAME, manifest.pack(self._files))
                self._storage.write(metadata.ATTRIBUTES, attributes)
            # ``.zarray`` changes until the end, so until then the manifest does not list it.
            self._storage.write(manifest.NAME, manifest.pack(self._files, {metadata.ATTRIBUTES: attributes}))
            if first:
                self._storage.write(metadata.ATTRIBUTES, attributes)
            self._attributes_stored = True
            self._storage.write(metadata.ARRAY, array)

        self._again(write)
        self._ledger.publish(chunks)
        self._again(lambda: self._shards.join(self._files))
        if self._spool is not None:
            for chunk in chunks:
                try:
                    self._spool.drop(chunk, self._recycler)
                except OSError as error:
                    self._ledger.note_trouble(error_text(error))

    def _again(self, action: Any) -> None:
        again(action, self.patience, self._failed)

    def _failed(self, error: Exception) -> None:
        """Record in the spool which chunks are in the store, because they cannot be published now."""
        self._ledger.note_trouble(error_text(error))
        self._keeper.keep()

    def _check_claim(self) -> None:
        try:
            owner = read_marker(self._storage).get("token")
        except FileNotFoundError:
            names = self._storage.names()
            if not names or MARKER in names:
                raise  # the store is unreachable, but nobody took it over
            owner = "nobody"
        if owner != self._token:
            raise RecordingError(
                f"{self._storage.url}: somebody else took this recording over, or removed it; nothing "
                f"more is written"
            )
