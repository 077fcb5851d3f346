"""Source of a movie in an array that is stored in chunks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import Any, Self

from numpy.typing import NDArray

from photon_gpu.sources.chunk_layer_cache import Box, ChunkLayerCache
from photon_gpu.sources.sliceable import SliceableSource


class ChunkedSource(SliceableSource):
    """A movie in a stored array; each chunk that holds parts of many frames is decoded once.

    Parameters
    ----------
    movie : object
        Array with ``shape``, ``dtype`` and slices.
    name : str
        Name in messages.
    chunks : tuple of int or None
        Shape of a chunk; None if the array is not chunked.
    edges : sequence of int, optional
        Frames at which a chunk begins and none is cut, if they are not multiples of its length.
    """

    def __init__(
        self, movie: Any, *, name: str, chunks: tuple[int, ...] | None, edges: Sequence[int] | None = None
    ) -> None:
        super().__init__(movie, name=name)
        self._stored_shape, self._chunks, self._edges = self.shape, chunks, edges
        self._layers: ChunkLayerCache | None = None
        self._arrange(tuple(range(len(self.shape))))

    @abstractmethod
    def _read_stored(self, box: Box) -> NDArray[Any]:
        """Decode a part of the array, with its dimensions in their stored order."""

    def arranged(self, order: tuple[int, ...]) -> Self:
        """See the base class. Both sources share their files, so close only one of them."""
        self._refuse_gaps(order)
        other = copy(self)
        other._arrange(order)
        return other

    def note(self, chunk_frames: int) -> str | None:
        """Remark on chunks that were decoded several times; None if none were."""
        return self._layers.no_room if self._layers is not None else None

    def close(self) -> None:
        """Release the array and the cached chunks."""
        super().close()
        if self._layers is not None:
            self._layers.close()

    def _arrange(self, order: tuple[int, ...]) -> None:
        self._order = order
        self.shape = tuple(self._stored_shape[number] for number in order)
        chunks = self._chunks
        if chunks is not None:
            chunks = tuple(chunks[number] for number in order)
        elif order[0] != 0:  # a frame is spread over the whole array
            chunks = (self.shape[0], *[1] * (len(self.shape) - 1))
        if chunks is not None:
            edges = self._edges if order[0] == 0 else None
            self._layers = ChunkLayerCache(self.shape, self.dtype, chunks, self._read_box, edges=edges)

    def _slice(self, start: int, stop: int) -> NDArray[Any]:
        if self._layers is not None and self._layers.cuts(start, stop):
            return self._layers.read(start, stop)
        return self._read_box((slice(start, stop), *(slice(0, length) for length in self.shape[1:])))

    def _read_box(self, box: Box) -> NDArray[Any]:
        stored = tuple(box[self._order.index(number)] for number in range(len(box)))
        return self._read_stored(stored).transpose(self._order)
