"""Call the C functions of Blosc from compiled kernels, without Python's lock.

A kernel gets the address of a function as a number, since Numba does not cache code that holds an address.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_POINTER, _SIZE, _NUMBER = ir.IntType(8).as_pointer(), ir.IntType(64), ir.IntType(32)


def _data(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return builder.bitcast(context.make_array(array_type)(context, builder, array).data, _POINTER)


@intrinsic
def blosc_decompress(typing_context: Any, address: Any, frame: Any, out: Any, size: Any) -> Any:
    """Call ``blosc_decompress_ctx`` to fill up to ``size`` bytes of ``out``; return what it returns."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = ir.FunctionType(_NUMBER, [_POINTER, _POINTER, _SIZE, _NUMBER]).as_pointer()
        source = _data(context, builder, signature.args[1], arguments[1])
        target = _data(context, builder, signature.args[2], arguments[2])
        called = builder.inttoptr(arguments[0], function)
        return builder.call(called, [source, target, arguments[3], ir.Constant(_NUMBER, 1)])

    return types.int32(types.intp, frame, out, types.intp), generate
