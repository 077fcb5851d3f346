"""Decode Blosc blocks of layout plain to samples, one compiled call for each part of a chunk."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc import frame_blocks
from photon_gpu.engine.codec.dequantize import sample_rows
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.requested_part import ChunkPart, Values
from photon_gpu.engine.model.clipping_levels_code_table import MARKS, ClippedCodeTable
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.runtime.pool import Split
from photon_gpu.engine.runtime.scratch import scratch
from photon_gpu.errors import InvalidInputError

_FEW = 1 << 12  # codes; a table of as many is made in less time than it takes to decode a block without

OpenSamples = Callable[[int, int], None]
"""Decodes samples ``low:high`` of the chunk by themselves; tells the decoder which codes they have."""


class LabelDecoder:
    """Decodes chunks of one encoding.

    The table of samples covers the codes of all values, if they are few, or else grows with the codes that
    occur.

    A block with a label that is not in the table is decoded by the caller's own function, which also raises
    the error for a label that no code has.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._codes: tuple[int, int] | None = None

    def saw(self, low: int, high: int) -> None:
        """Add codes ``low`` to ``high`` to the table."""
        if self._codes is not None:
            low, high = min(low, self._codes[0]), max(high, self._codes[1])
        self._codes = low, high

    def decode(
        self,
        data: bytes,
        part: ChunkPart,
        what: Values,
        out: NDArray,
        split: Split,
        open_samples: OpenSamples,
    ) -> bool:
        """Decode the rows of a part of a chunk to ``out``, 1-D, its frames; False if that is impossible.

        It is impossible for a frame of one block, and for blocks that do not hold whole labels.
        """
        frame, kernels = frame_blocks(data), _kernels()
        if frame is None or frame.size % 8:
            return False
        count, per_block = len(frame.starts), frame.size // 8
        bits, pixels = out.view(f"u{out.itemsize}"), part.frame_size
        samples, whole = (part.start * pixels, part.end * pixels), part.chunk[0] * pixels
        rows, every = (row * part.chunk[-1] for row in part.row_range), (whole, 0, whole)
        wanted = kernels.WantedSamples(*samples, *(every if part.rows is None else (pixels, *rows)))
        # The last block is decoded with the one before: Blosc refuses a frame smaller than its block size.
        first = min(samples[0] // per_block, count - 2)
        end = max(min(-(-samples[1] // per_block), count - 1), first + 1)

        def decode_blocks(numbers: tuple[int, int]) -> None:
            block, stop = first + numbers[0], first + numbers[1]
            longest = 2 * int((frame.ends - frame.starts).max()) + 64
            work = (
                scratch("blocks", (longest,), np.uint8),
                scratch("labels", (2 * per_block,), np.float64),
            )
            while block < stop:
                table = self._table(what)
                if table is not None:
                    block = kernels.decode_label_blocks(frame, (block, stop), wanted, table, work, bits)
                if block < stop:
                    after = count if block + 2 == count else block + 1
                    open_samples(max(samples[0], block * per_block), min(samples[1], after * per_block))
                    block = after

        list(split.run(decode_blocks, split.ranges(end - first)))
        return True

    def _table(self, what: Values) -> Any:
        """Return samples by label, for the codes that occurred; None if there are none or too many."""
        codes = self._codes or _few_codes(self._encoding.table())
        if codes is None:
            return None
        return _label_table(self._encoding, codes, what)


@lru_cache(maxsize=16)
def _label_table(encoding: Encoding, codes: tuple[int, int], what: Values) -> Any:
    """Return samples by label; None if there are too many codes."""
    rows = sample_rows(encoding, codes[0], codes[1] - codes[0], what)
    if rows is None:
        return None
    grid, first, valid = encoding.step, codes[0], np.empty(0, np.uint8)
    assert grid is not None
    if encoding.clipping:
        table = encoding.table()
        assert isinstance(table, ClippedCodeTable)
        grid /= MARKS
        marks = np.rint(table.labels(np.arange(codes[0], codes[1] + 1)) / grid).astype(np.int32)
        first = int(marks.min())
        numbers, impossible = table.codes_of_each_mark(np.arange(first, int(marks.max()) + 1, dtype=np.int32))
        impossible |= (numbers < codes[0]) | (numbers > codes[1])
        rows = rows[:, np.where(impossible, 0, numbers - codes[0])]
        valid = (~impossible).astype(np.uint8) if impossible.any() else valid
    samples = np.ascontiguousarray(rows)
    return _kernels().LabelTable(grid, first, valid, samples.view(f"u{samples.itemsize}"), encoding.seed)


@lru_cache(maxsize=16)
def _few_codes(table: CodeTable) -> tuple[int, int] | None:
    """Least and greatest code of all values of the dtype; None if there are many."""
    if not table.has_lut:
        return None
    ends = np.iinfo(table.dtype)
    try:
        codes = [table.code(end, phase) for end in (ends.min, ends.max) for phase in range(table.phases)]
    except InvalidInputError:  # no chunk has such values
        return None
    return (min(codes), max(codes)) if max(codes) - min(codes) < _FEW else None


@cache
def _kernels() -> Any:
    """Import the compiled kernels when they are first used."""
    return import_module("photon_gpu.kernels.plain_layout.cpu_decode")
