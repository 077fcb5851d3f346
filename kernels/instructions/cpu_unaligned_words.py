"""Load and store unaligned 64-bit words, and count zero bits, each in one instruction.

These check no bounds: each caller ensures that the eight bytes lie within the array. The words are
little-endian, as on every processor that Numba compiles this package for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from photon_gpu.kernels.cpu_cache import jit


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), context.get_value_type(types.uint64).as_pointer())


@intrinsic
def load64(typing_context: Any, array: Any, at: Any) -> Any:
    """Load the word in bytes ``at`` to ``at + 8`` of a contiguous uint8 array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], *arguments), align=1)

    return types.uint64(array, types.intp), generate


@intrinsic
def store64(typing_context: Any, array: Any, at: Any, word: Any) -> Any:
    """Write ``word`` to bytes ``at`` to ``at + 8`` of a contiguous uint8 array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, word = arguments
        builder.store(word, _pointer(context, builder, signature.args[0], array, at), align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.uint64), generate


@intrinsic
def trailing_zeros(typing_context: Any, word: Any) -> Any:
    """Count the zero bits below the lowest set bit of a word that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, True))

    return types.uint64(types.uint64), generate


@intrinsic
def leading_zeros(typing_context: Any, word: Any) -> Any:
    """Count the zero bits above the highest set bit of a word that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], context.get_constant(types.boolean, True))

    return types.uint64(types.uint64), generate


@jit
def bits_below(data: NDArray[np.uint8], end: int, count: int) -> int:
    """Return ``count`` bits (up to 16) below bit ``end`` of ``data``, zeros below its start."""
    low = max(end - count, 0)
    value: Any = 0
    for at in range(low >> 3, (end + 7) >> 3):
        value |= np.int64(data[at]) << (8 * (at - (low >> 3)))
    value >>= low & 7
    return (value << (low + count - end)) & ((1 << count) - 1)
