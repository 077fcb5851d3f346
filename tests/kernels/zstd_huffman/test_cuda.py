"""The CUDA kernels that write and decode Huffman-only frames, run by g++ behind a shim, against the CPU's.

No GPU code is run here (tests/engine/gpu/test_on_gpu.py does, where there is one).
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Iterator
from typing import Any

import numcodecs.blosc
import numpy as np
import pytest

from photon_gpu.kernels.zstd_huffman import cpu, reference
from tests.support.cuda import cupy_standin as standin
from tests.support.stores.huffman_bytes import BYTES, LENGTHS, LONG, altered, functions, in_blosc, made

DAMAGED = [(name, 2200) for name in ("half bytes", "two symbols", "deepest", "noise", "six symbols")]
"""Contents of frames that are damaged."""


class Device:
    """The kernels on the stand-in."""

    def __init__(self, cupy: Any, cuda: Any) -> None:
        self.cupy, self.cuda = cupy, cuda

    def in_blosc(self, data: np.ndarray, length: int, block: int, skew: int = 0) -> bytes:
        """Frame of ``data``, after looking for bytes written beyond the most that there may be."""
        most = self.cuda.most_blosc_bytes(data.size, length, block)
        fenced = self.cupy.asarray(np.full(most + 64 + skew, 7, np.uint8))
        unaligned = self.cupy.asarray(np.append(np.zeros(skew, np.uint8), data))[skew:]
        out = fenced[32 + skew : 32 + skew + most]
        size = self.cuda.encode_blosc(unaligned, length, block, out)
        around = fenced.get()
        assert (around[: 32 + skew] == 7).all() and (around[32 + skew + most :] == 7).all()
        return around[32 + skew : 32 + skew + size].tobytes()

    def decoded(self, frame: np.ndarray, size: int, skew: int = 0) -> bytes | None:
        """Content of a frame, None if it is refused, after looking for bytes written beyond it."""
        fenced = self.cupy.asarray(np.full(size + 64 + skew, 7, np.uint8))
        unaligned = self.cupy.asarray(np.append(np.zeros(skew, np.uint8), frame))[skew:]
        count = self.cuda.decode_blosc(unaligned, fenced[32 + skew : 32 + skew + size])
        around = fenced.get()
        assert (around[: 32 + skew] == 7).all() and (around[32 + skew + size :] == 7).all()
        assert count in (-1, size)
        return around[32 + skew : 32 + skew + size].tobytes() if count >= 0 else None


def decoded_by_cpu(frame: np.ndarray, size: int) -> bytes | None:
    out = np.empty(size, np.uint8)
    return out.tobytes() if cpu.decode_blosc(frame, out) >= 0 else None


@pytest.fixture
def device() -> Iterator[Device]:
    with standin.installed(5) as machine:  # which runs each kernel in another order
        import cupy

        yield Device(cupy, importlib.import_module("photon_gpu.kernels.zstd_huffman.cuda"))
        assert machine.launched, standin.NOTICE


def test_the_functions_are_those_of_the_reference_in_the_same_order(device: Device) -> None:
    every = dict(functions(reference))
    ours = {name: arguments for name, arguments in functions(device.cuda) if name in every}
    assert list(ours) == [name for name in every if name in ours]
    assert "decode_blosc" in ours
    for name, arguments in ours.items():
        assert arguments == every[name][: len(arguments)]
    assert (device.cuda.LONGEST, device.cuda.SYMBOLS) == (reference.LONGEST, reference.SYMBOLS)
    data = device.cupy.asarray(np.zeros(5, np.uint8))
    with pytest.raises(ValueError, match="does not fit the frame of 5 bytes"):
        device.cuda.encode_blosc(data, 5, 5, data)
    with pytest.raises(TypeError, match="data is int64; allowed are uint8"):
        device.cuda.encode_blosc(device.cupy.asarray(np.zeros(5, np.int64)), 5, 5, data)
    device.in_blosc(np.zeros(1, np.uint8), 1, 1)


@pytest.mark.parametrize("name", BYTES)
def test_the_bytes_are_those_of_the_cpu(device: Device, name: str) -> None:
    """Of several frames, the last of which is shorter, in blocks that are joined or not."""
    for size, length, block, skew in (
        (9000, 4096, 1024, 1),
        (5001, 3000, 700, 0),
        (70_000, 1 << 18, 1 << 15, 3),
    ):
        data = made(name, size)
        assert device.in_blosc(data, length, block, skew) == in_blosc(cpu, data, length, block).tobytes()


def test_contents_of_any_length(device: Device) -> None:
    names = list(BYTES)
    for number, size in enumerate((*LENGTHS, *LONG)):
        data = made(names[number % len(names)], size)
        if size:
            assert device.in_blosc(data, 1 << 18, 1 << 15) == in_blosc(cpu, data, 1 << 18, 1 << 15).tobytes()


def codes_of_any_counts() -> np.ndarray:
    """Bytes in blocks of 2048: few symbols and many, near and far, so that all descriptions occur."""
    rng = np.random.default_rng(8)
    parts = []
    for symbols in (2, 3, 5, 17, 127, 128, 129, 130, 200, 256):
        for spread in (0.3, 2, 9):
            chosen = np.sort(rng.permutation(256)[:symbols])
            counts = np.ceil(np.exp(-np.arange(symbols) / (spread * symbols) * rng.uniform(1, 9)) * 2000)
            values = np.repeat(rng.permutation(chosen), counts.astype(int))
            parts.append(rng.permutation(np.resize(values, max(2048, 3 * symbols))[:2048]))
    for rare in (8, 16, 32, 64, 128):  # weights far from each other
        symbols = np.linspace(0, 255, rare + 1).astype(int)
        parts.append(
            rng.permutation(np.append(np.full(1024, symbols[0]), np.repeat(symbols[1:], 1024 // rare)))
        )
    parts.append(rng.integers(0, 256, 2048))  # a frame that does not shrink, among others
    return np.concatenate(parts).astype(np.uint8)


def test_codes_of_any_counts(device: Device) -> None:
    data = codes_of_any_counts()
    assert device.in_blosc(data, 2048, 2048) == in_blosc(cpu, data, 2048, 2048).tobytes()


@pytest.mark.parametrize("name", BYTES)
def test_frames_are_decoded_as_by_the_cpu(device: Device, name: str) -> None:
    """Several frames, of more blocks than are decoded at once, which use codes of blocks long before."""
    for size, length, block, skew in (
        (9000, 4096, 1024, 1),
        (5001, 3000, 700, 0),
        (20_000, 20_000, 399, 2),
        (70_000, 1 << 18, 1 << 15, 3),
    ):
        data = made(name, size)
        frame = in_blosc(cpu, data, length, block)
        stored = bool(frame[2] & 2)  # as it is, which Blosc opens as fast
        assert device.decoded(frame, size, skew) == (None if stored else data.tobytes()), (size, block)
        assert device.decoded(frame, size + 1) is None


def test_frames_of_any_length_are_decoded(device: Device) -> None:
    for number, size in enumerate((*LENGTHS[1:], *LONG)):
        data = made(list(BYTES)[number % len(BYTES)], size)
        for length, block in ((1 << 18, 1 << 15), (5000, 300)):
            frame = in_blosc(cpu, data, length, block)
            assert device.decoded(frame, size) == decoded_by_cpu(frame, size)


def test_codes_of_any_description_are_read(device: Device) -> None:
    data = codes_of_any_counts()
    for length in (2048, data.size):
        frame = in_blosc(cpu, data, length, 2048)
        assert device.decoded(frame, data.size) == data.tobytes()


def blocks_of(frame: np.ndarray) -> list[int]:
    """Kind of the literals of each block of the only zstd frame of a Blosc frame of 256 to 65,791 bytes."""
    body, at, kinds, last = frame[24:].tobytes(), 7, [], False
    while not last:
        header = int.from_bytes(body[at : at + 3], "little")
        last = bool(header & 1)
        assert header >> 1 & 3 == 2, "a compressed block"
        kinds.append(body[at + 3] & 3)
        at += 3 + (header >> 3)
    assert at == len(body)
    return kinds


def test_codes_are_used_by_blocks_that_are_decoded_later(device: Device) -> None:
    """Eight blocks are decoded at once. The codes of the fifth are those of all blocks from the ninth on."""
    data = np.concatenate([made("noise", 4 * 399), np.tile(made("six symbols", 399), 20)])
    frame = in_blosc(cpu, data, data.size, 399)
    own, latest = 2, 3
    assert blocks_of(frame) == [own, *3 * [latest], own, *19 * [latest]]
    assert device.decoded(frame, data.size) == data.tobytes()


def in_one_block(body: bytes, body_bytes: int) -> np.ndarray:
    """Blosc frame of one block, which says that it opens to 1000 bytes and has ``body_bytes``."""
    numbers = (1000, 1000, 24 + len(body), 20, body_bytes)
    head = bytes([2, 1, 0x90, 1]) + b"".join(number.to_bytes(4, "little") for number in numbers)
    return np.array(bytearray(head + body))


def test_frames_that_claim_more_than_they_hold_are_refused(device: Device) -> None:
    """Nine blocks of a repeated byte, the first longer than the content; and a frame stored in part."""
    blocks = [(1 << 20 << 3 | 1 << 1).to_bytes(3, "little") + b"a"] + 7 * [b"\2\0\0a"] + [b"\3\0\0a"]
    body = b"\x28\xb5\x2f\xfd\x60" + (1000 - 256).to_bytes(2, "little") + b"".join(blocks)
    assert device.decoded(in_one_block(body, len(body)), 1000) is None
    assert device.decoded(in_one_block(bytes(10), 1000), 1000) is None
    assert device.decoded(in_one_block(bytes(1000), 1000), 1000) == bytes(1000)


def test_a_damaged_frame_is_refused_or_decoded_as_by_the_cpu(device: Device) -> None:
    """Nothing beyond the content is written; the sanitizers see what is read (every_kernel)."""
    rng = np.random.default_rng(6)
    whole = [in_blosc(cpu, made(*which), *cut) for which in DAMAGED for cut in ((1500, 300), (2200, 120))]
    refused = 0
    for trial in range(600):
        bad = altered(whole[trial % len(whole)], rng)
        content = device.decoded(bad, 2200, trial % 4)
        assert content == decoded_by_cpu(bad, 2200), trial
        refused += content is None
    assert 100 < refused < 550


def test_frames_of_other_encoders_are_decoded_or_left_to_them(device: Device) -> None:
    data = made("half bytes", 100_000)
    for name, level, shuffle in (
        ("zstd", 1, 0),
        ("zstd", 1, 1),
        ("lz4", 1, 0),
        ("zstd", 9, 0),
        ("zstd", 0, 0),
    ):
        frame = np.array(bytearray(numcodecs.blosc.compress(data, name.encode(), level, shuffle, 1 << 15)))
        content = device.decoded(frame, data.size)
        assert content == decoded_by_cpu(frame, data.size) and content in (None, data.tobytes())
    for size in range(40):
        assert device.decoded(in_blosc(cpu, data[:50], 50, 50)[:size], 50) is None
    assert device.decoded(np.zeros(100, np.uint8), 0) is None


def test_the_crc_is_that_of_zlib(device: Device) -> None:
    data = np.random.default_rng(9).integers(0, 256, 700_001).astype(np.uint8)
    out = device.cupy.empty(1, np.uint32)
    for size in (0, 1, 255, 256, 257, 65_537, data.size - 3):
        for skew in (0, 3):
            device.cuda.crc32(device.cupy.asarray(data)[skew : skew + size], out)
            assert int(out.get()[0]) == zlib.crc32(data[skew : skew + size]), (size, skew)
