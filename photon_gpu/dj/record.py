"""Record a movie into a table: a live writer that inserts the row at the end."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from numpy.typing import DTypeLike

from photon_gpu.dj.marks_in_store import mark_location
from photon_gpu.dj.movie_column import Column
from photon_gpu.dj.pending_row import PENDING_ROW, PendingRow
from photon_gpu.errors import InvalidInputError, PhotonWarning, StoreExistsError
from photon_gpu.live.writer import LiveWriter
from photon_gpu.store.owned_files import remove_own


def record(
    table: Any,
    key: Mapping[str, Any],
    field: str,
    *,
    frame_shape: tuple[int, ...],
    dtype: DTypeLike,
    **options: Any,
) -> Recorder:
    """Record a movie frame by frame to the path of a row, and insert the row on a clean exit.

    Parameters
    ----------
    table : datajoint table
    key : mapping
        The row without the movie: primary key, and other attributes as needed.
    field : str
        Name of the ``<photon@store>`` or ``<photon_compact@store>`` column.
    frame_shape : tuple of int
        ``(..., H, W)``.
    dtype : dtype-like
        Type of the frames.
    **options
        Other options of :class:`photon_gpu.LiveWriter`: ``noise``, ``step``, ``preset``, ``predictor``,
        ``compressor``, ``dither``, ``peaks``, ``chunk_frames``, ``backend``, ``workers``, ``trust_noise``,
        ``accept_processed``, ``durability``, ``spool``, ``attributes`` and more, with its defaults. The
        column sets ``layout``, and the store ``storage_options``.

    Returns
    -------
    Recorder
        Use it in a ``with`` block.

    Raises
    ------
    InvalidInputError
        An option, the column or the row cannot be used. Nothing was begun.
    StoreExistsError
        The table has a row with this key already.

    Notes
    -----
    After an error inside the block the movie is finished with every frame that was appended, and no row is
    inserted. The same happens if a :class:`photon_gpu.FidelityWarning` is made an error and the check of a
    sample fails. Then, and after a crash, :func:`photon_gpu.dj.recover` inserts the row or removes the
    recording.

    If no noise model can be estimated, every bit is kept. If the frames contradict a stated model, the
    recording continues. Both problems appear in ``warnings`` at once, and as a PhotonWarning once the row is
    inserted.
    """
    column = Column.of(table, field)
    if missing := [name for name in column.table.primary_key if name not in key]:
        raise InvalidInputError(f"the primary key needs {', '.join(missing)} too")
    primary_key = column.key_of(key)
    if len(column.table & primary_key):
        raise StoreExistsError(
            f"{column.table.full_table_name} has a row {primary_key} already; delete it first"
        )

    def begin(path: str) -> Recorder:
        row = PendingRow(column, dict(key), path)
        return Recorder(row, frame_shape=frame_shape, dtype=dtype, **options)

    try:
        return begin(column.path(primary_key))
    except StoreExistsError:  # such as the movie of a row that was deleted
        from datajoint.storage import generate_token

        return begin(column.path(primary_key, generate_token()))


class Recorder(LiveWriter):
    """A :class:`~photon_gpu.LiveWriter` that inserts the row of its movie when it closes.

    Parameters
    ----------
    row : PendingRow
    **options
        Options of :class:`~photon_gpu.LiveWriter`, except ``url`` and ``layout``.

    Attributes
    ----------
    path : str
        Path of the movie within the store.
    """

    def __init__(self, row: PendingRow, **options: Any) -> None:
        content = row.to_json()
        column = row.column
        self.path, self._row = row.path, row
        self._pending = False  # whether the store holds a recording without a row
        self._failed = False  # whether the caller's block ended with an error
        mark_location(column.backend, column.store, column.table.connection)
        # Each append waits until its chunks are published, so publications must follow without a pause.
        super().__init__(row.storage, layout=column.layout, **{"publish_seconds": 0.0, **options})
        try:
            self._storage.create(PENDING_ROW, content)
        except BaseException:
            super().close()
            raise
        self._pending = True

    @property
    def frames(self) -> int:
        """Frames appended."""
        return self._ledger.frames_in

    @property
    def frames_stored(self) -> int:
        """Frames in the store, which survive a crash; ``acknowledged`` counts those in the spool too."""
        return self._ledger.published

    @property
    def warnings(self) -> list[str]:
        """Problems so far: frames that contradict the stated noise model, or why every bit is kept."""
        return [*self.status().warnings[:1], *self._fallback()]

    def _fallback(self) -> list[str]:
        """Why every bit is kept; empty if the movie is quantized as requested."""
        layout = self._pipeline.layout
        if layout is None or layout.encoding.layout == self.config.layout:
            return []
        return [f"{self.url}: {'; '.join(self.status().notes)}"]

    def append(self, frames: Any, *, timestamp: Any = None, metadata: Any = None, wait: bool = True) -> int:
        """Take one frame or a batch; see :meth:`photon_gpu.LiveWriter.append`.

        With ``wait`` and durability ``"chunk"``, it returns once every full chunk is acknowledged. If the
        store is unreachable, it returns at once, and frames wait in the queue and in the spool.
        """
        super().append(frames, timestamp=timestamp, metadata=metadata, wait=wait)
        if wait and self.config.durability == "chunk":
            self._wait_for_chunks()
        return self.acknowledged

    def close(self) -> None:
        """Finish the movie and insert the row. A second call does nothing."""
        try:
            super().close()
        except BaseException as error:
            if self._pending and not self._failed:
                error.add_note(f"no row was inserted; {self._way_on()}")
            raise

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._failed = error is not None
        super().__exit__(error_type, error, trace)
        if error is not None and self._pending:
            error.add_note(self._way_on())

    def _way_on(self) -> str:
        return (
            f"{self.frames_stored} of {self.frames} frames of this recording lie at {self.url}; "
            "photon_gpu.dj.recover(table) lists them, and finishes or removes the recording"
        )

    def _wait_for_chunks(self) -> None:
        ledger, size = self._ledger, self.config.frames_per_chunk
        with ledger.changed:
            full = ledger.frames_in // size * size
            if full < self._frames_before_encoding:
                return
            while ledger.acknowledged < full and ledger.trouble is None:
                if ledger.error is not None:
                    raise self._ended(ledger.error) from ledger.error
                ledger.changed.wait(1.0)

    def _on_finished(self) -> None:
        if not self.frames:
            remove_own(self._storage, ours=True, also=(PENDING_ROW,))
            self._pending = False
            if not self._failed:
                raise InvalidInputError("no frame was appended, so there is no movie; no row was inserted")
        elif not self._failed:
            self._row.insert()
            self._pending = False
            for text in self._fallback():
                warnings.warn(text, PhotonWarning, stacklevel=3)
