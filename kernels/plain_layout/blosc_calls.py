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


@intrinsic
def blosc_compress(
    typing_context: Any, address: Any, settings: Any, data: Any, nbytes: Any, frame: Any, name: Any
) -> Any:
    """Call ``blosc_compress_ctx`` by one thread; return what it returns, the bytes of the frame.

    ``settings`` is a tuple: level, shuffle, bytes per item and per block. ``name`` ends with a zero.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        parameters = [_NUMBER] * 2 + [_SIZE] * 2 + [_POINTER] * 2 + [_SIZE, _POINTER, _SIZE, _NUMBER]
        function = ir.FunctionType(_NUMBER, parameters).as_pointer()
        level, shuffle, itemsize, size = (builder.extract_value(arguments[1], n) for n in range(4))
        source, target, title = (_data(context, builder, signature.args[n], arguments[n]) for n in (2, 4, 5))
        room = context.make_array(signature.args[4])(context, builder, arguments[4]).nitems
        called = builder.inttoptr(arguments[0], function)
        passed = [builder.trunc(level, _NUMBER), builder.trunc(shuffle, _NUMBER), itemsize, arguments[3]]
        return builder.call(called, [*passed, source, target, room, title, size, ir.Constant(_NUMBER, 1)])

    passed = (types.intp, settings, data, types.intp, frame, name)
    return types.int32(*passed), generate
