"""Plant bugs in the CUDA source, its launcher and the GPU pipeline; report which test finds each.

``python -m tests.support.cuda.mutants`` plants all of them beside a control without a bug, ``--quick`` some,
``--only WORD`` and ``--file WORD`` those whose name or file has the word. The exit code is 0 only if the
control passes and a test finds every bug. No GPU code is run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
CU, PC, RC = "kernels/quantize.cu", "kernels/predictors.cu", "kernels/residuals.cu"
HC, HUFFMAN = "kernels/zstd_huffman.cu", "kernels/zstd_huffman/cuda.py"
DC, CRC = "kernels/zstd_huffman_decode.cu", "kernels/crc32.cu"
TWIN, LAUNCH = "kernels/cuda.py", "kernels/cuda_launch.py"
SLOTS, CODER, BANDS = (
    "photon_gpu/engine/gpu/streams_and_buffers.py",
    "photon_gpu/engine/gpu/coder.py",
    "photon_gpu/engine/gpu/predict_bands.py",
)
PACKING = "photon_gpu/engine/gpu/residual_transfer.py"
FRAMES = "photon_gpu/engine/gpu/huffman_frames.py"
KERNELS = ("tests/kernels/test_cuda.py",)
RESIDUALS = ("tests/kernels/test_cuda_residuals.py",)
PIPELINE = ("tests/engine/gpu/test_coder.py",)
CODED = ("tests/kernels/zstd_huffman/test_cuda.py",)
FINISHED = ("tests/engine/gpu/test_huffman_frames.py",)
RACES = ("tests/kernels/cuda/test_sanitizers.py::test_every_kernel_is_clean",)


@dataclass(frozen=True)
class Mutant:
    """One bug: in ``file``, ``old`` becomes ``new``; ``tests`` are asked in turn until one fails.

    ``quick`` selects a few tests that suffice (``-k``), for the mutants of the ordinary run.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    quick: str = ""


K, P, R, Z, H, F = KERNELS, PIPELINE, RACES, RESIDUALS, CODED, FINISHED
MUTANTS = (
    # What a GPU forgives sometimes: barriers, atomics, races.
    Mutant(
        "missing barrier after the table is cached",
        CU,
        "    __syncthreads();\n    for (u32 t = blockIdx.y; t < frames; t += gridDim.y) {\n        "
        "const In* from",
        "    for (u32 t = blockIdx.y; t < frames; t += gridDim.y) {\n        const In* from",
        K,
        quick="quantize_lut_of_every_input and order0",
    ),
    Mutant(
        "missing barrier in the block's total",
        CU,
        "value;\n    __syncthreads();\n    if (threadIdx.x == 0)",
        "value;\n    if (threadIdx.x == 0)",
        K,
    ),
    Mutant(
        "barrier that part of a block skips",
        CU,
        "    __syncthreads();\n    if (threadIdx.x == 0)\n        for (int warp",
        "    if (threadIdx.x < 200) __syncthreads();\n    if (threadIdx.x == 0)\n        for (int warp",
        K,
    ),
    Mutant(
        "non-atomic add in global memory",
        CU,
        "if (threadIdx.x == 0) atomicAdd(total, sum);",
        "if (threadIdx.x == 0) *total += sum;",
        R,
    ),
    Mutant(
        "non-atomic maximum",
        CU,
        "        atomicMax(extremes + 1, high);",
        "        if (extremes[1] < high) extremes[1] = high;",
        R,
    ),
    Mutant(
        "shuffle by part of a warp",
        CU,
        "for (int distance = 16; distance; distance >>= 1)",
        "if (threadIdx.x % 32 < 16) for (int distance = 16; distance; distance >>= 1)",
        K,
    ),
    # Sums and extents.
    Mutant("shuffle begins too near", CU, "int distance = 16;", "int distance = 8;", K),
    Mutant(
        "last warp left out",
        CU,
        "int warp = 1; warp < THREADS / 32;",
        "int warp = 1; warp < THREADS / 32 - 1;",
        K,
    ),
    Mutant("sign of integers forgotten", CU, "(T)-1 < (T)0 ? TOP : 0", "(T)-1 < (T)0 ? 0 : 0", K),
    Mutant(
        "negative floats in wrong order",
        CU,
        "return bits & TOP ? ~bits : bits | TOP;",
        "return bits | TOP;",
        K,
    ),
    Mutant("infinity taken for a value", CU, ">> 23 & 0xff) != 0xff", ">> 23 & 0xff) != 0x1ff", K),
    # Indexing: tails, strides, bounds, alignment.
    Mutant(
        "missing tail",
        CU,
        "for (u64 i = packs * N + thread_index(); i < pixels;",
        "for (u64 i = packs * N + thread_index(); i < packs * N;",
        K,
        quick="keeps_to_its_samples and order0",
    ),
    Mutant(
        "alignment not asked",
        CU,
        "aligned<In, N>(from) && aligned<Out, N>(to) ? pixels / N : 0",
        "pixels / N",
        (*R, *K),
    ),
    Mutant("one pack too many", CU, "p < packs;", "p <= packs;", (*K, *R)),
    Mutant(
        "wrong grid stride", CU, "return (u64)gridDim.x * blockDim.x;", "return (u64)blockDim.x;", (*R, *K)
    ),
    Mutant(
        "grid stride too long",
        CU,
        "return (u64)gridDim.x * blockDim.x;",
        "return (u64)gridDim.x * blockDim.x + 1;",
        K,
    ),
    Mutant("frames too near", CU, "Out* to = out + out_at(t);", "Out* to = out + t * pixels;", K),
    Mutant(
        "bands on top of each other",
        CU,
        "return k / per * band + k % per * frame;",
        "return k % per * frame;",
        K,
    ),
    Mutant(
        "frames counted on from band to band",
        CU,
        "return k / per * band + k % per * frame;",
        "return k / per * band + k * frame;",
        K,
    ),
    Mutant(
        "samples of bands numbered alike",
        CU,
        "return first + k / per * (u32)pixels + k % per * stride;",
        "return first + k % per * stride;",
        K,
    ),
    Mutant(
        "mean of every band from the first",
        PC,
        "const Code* from = in + b * in_band + i;",
        "const Code* from = in + i;",
        K,
    ),
    Mutant(
        "cache read past its end",
        CU,
        "index < cached ? cache[index] : table[index < size ? index : size - 1];\n            }",
        "index <= cached ? cache[index] : table[index < size ? index : size - 1];\n            }",
        (*K, *R),
    ),
    Mutant(
        "damaged code of a pack reads beyond the table",
        CU,
        "table[index < size ? index : size - 1];\n            }",
        "table[index];\n            }",
        K,
    ),
    Mutant(
        "damaged code of the tail reads beyond the table",
        CU,
        "table[index < size ? index : size - 1];\n        }",
        "table[index];\n        }",
        K,
    ),
    Mutant(
        "damaged code reads beyond its phase's table", CU, "(index < size ? index : size - 1)", "index", K
    ),
    Mutant("phase of another sample", CU, "tables[(u64)row * size", "tables[(u64)(row ^ 1) * size", K),
    Mutant(
        "index of a sample forgets the frame",
        CU,
        "return first + k / per * (u32)pixels + k % per * stride;",
        "return first + k / per * (u32)pixels;",
        K,
    ),
    # Arithmetic that decides.
    Mutant("threshold compared by >", CU, "thresholds[k + 1] <= value", "thresholds[k + 1] < value", K),
    Mutant("the guess decides", CU, "while (k > 0 && thresholds[k] > value) --k;", "", K),
    Mutant("subnormal float32 flushed", CU, "return bits >> 31 ? -small : small;", "return 0.0;", K),
    Mutant(
        "label near a multiple accepted",
        CU,
        "__dmul_rn(k, step) == label",
        "__dmul_rn(k, step) - label < 1e-9",
        K,
    ),
    Mutant("checksum without its last mix", CU, "h ^= h >> 15;\n            sum += h;", "sum += h;", K),
    # Predictors.
    Mutant("zigzag without sign", PC, "(u32)wrapped << 1 ^ (u32)(wrapped >> 31)", "(u32)wrapped << 1", K),
    Mutant("mean rounded down", PC, "* rate + 64) >> 7", "* rate) >> 7", K),
    Mutant(
        "running mean in 32 bits",
        PC,
        "((i64)((now << 7) - mean) * rate + 64)",
        "(((now << 7) - mean) * rate + 64)",
        K,
    ),
    Mutant(
        "prediction rounded down",
        PC,
        "const i32 predicted = (i32)(total + (1 << 14) >> 15);\n    const u64",
        "const i32 predicted = (i32)(total >> 15);\n    const u64",
        K,
    ),
    Mutant(
        "16-bit mix in 32 bits",
        PC,
        "typedef i16 Signed; typedef i64 Number;",
        "typedef i16 Signed; typedef i32 Number;",
        R,
    ),
    Mutant("edge of a band not replicated", PC, "(row == rows - 1 ? row : row + 1)", "(row + 1)", (*K, *R)),
    Mutant("one plane of means", PC, "mix.means + (t + 1) % 2 * plane", "mix.means + t % 2 * plane", K),
    Mutant("wavefront too steep", PC, "before = 4 * t + 2 * row;", "before = 4 * t + row;", K),
    Mutant(
        "frames of the wavefront too near", PC, "before = 4 * t + 2 * row;", "before = 3 * t + 2 * row;", K
    ),
    Mutant(
        "missing barrier between the wavefront's steps",
        PC,
        "            __syncthreads();  // the step's codes and means are there\n",
        "",
        (*K, *R),
    ),
    Mutant(
        "tiles of a column at once",
        PC,
        "const u32 begin = (diagonal - g) * steps;",
        "const u32 begin = diagonal * steps;",
        K,
    ),
    Mutant(
        "tiles a diagonal early",
        PC,
        "const u32 begin = (diagonal - g) * steps;",
        "const u32 begin = (diagonal - g + (g > 0)) * steps;",
        K,
    ),
    Mutant(
        "last band as tall as the others",
        PC,
        "rows = band_rows < all_rows - first ? band_rows : all_rows - first;",
        "rows = band_rows;",
        (*K, *R),
    ),
    Mutant(
        "every frame has the weights of the first",
        PC,
        "full ? 16 * t : t ? 11 : 0",
        "full ? 0 : t ? 11 : 0",
        K,
    ),
    Mutant(
        "neighbours of the mean exchanged",
        PC,
        "(Number)w[3] * mean[at.west] + (Number)w[4] * mean[at.east]",
        "(Number)w[4] * mean[at.west] + (Number)w[3] * mean[at.east]",
        K,
    ),
    # Residuals packed and sorted.
    Mutant(
        "missing barrier before a tile's sums",
        RC,
        "    __syncthreads();  // the sums of the tile before have been read\n",
        "",
        (*Z, *R),
    ),
    Mutant(
        "missing barrier after a tile's sums",
        RC,
        "partial[own_warp] = sum;\n    __syncthreads();",
        "partial[own_warp] = sum;",
        Z,
        quick="test_pack and order0",
    ),
    Mutant(
        "scan begins too far",
        RC,
        "for (u32 distance = 1; distance < 32; distance <<= 1)",
        "for (u32 distance = 2; distance < 32; distance <<= 1)",
        Z,
    ),
    Mutant("lanes take sums from nowhere", RC, "if (lane >= distance) sum += lower;", "sum += lower;", Z),
    Mutant("halves of a byte exchanged", RC, "(u8)(low | high << 4)", "(u8)(high | low << 4)", Z),
    Mutant(
        "15 does not escape", RC, "if (read.item[j] >= ESCAPE) *to++", "if (read.item[j] > ESCAPE) *to++", Z
    ),
    Mutant(
        "escapes of a tile begin anew",
        RC,
        "            count += total;\n        }\n        if (threadIdx.x == 0) counts[s] = count;",
        "            count = total;\n        }\n        if (threadIdx.x == 0) counts[s] = count;",
        Z,
    ),
    Mutant("last byte of an odd run lost", RC, "(mine + 1) / 2, write);", "mine / 2, write);", Z),
    Mutant(
        "segments walked by all blocks",
        RC,
        "s * segment < size; s += gridDim.x) {\n        const u64 first = s * segment;\n        const "
        "u32 length = size - first < segment ? (u32)(size - first) : segment;\n        u32 count = 0;",
        "s * segment < size; s += 2 * gridDim.x) {\n        const u64 first = s * segment;\n        "
        "const u32 length = size - first < segment ? (u32)(size - first) : segment;\n        u32 count = 0;",
        Z,
    ),
    Mutant(
        "packed beyond a segment's end",
        RC,
        "return begin >= length ? 0 : length - begin < RUN ? length - begin : RUN;",
        "return begin >= length ? 0 : RUN;",
        (*Z, *R),
    ),
    Mutant(
        "damaged chunk reads beyond its escapes",
        RC,
        "if (next < stored) write.item[j]",
        "if (true) write.item[j]",
        R,
    ),
    Mutant(
        "starts beyond the escapes believed",
        RC,
        "const u64 bound = (u64)starts[s + 1] < escaped ? (u64)starts[s + 1] : escaped;",
        "const u64 bound = (u64)starts[s + 1];",
        Z,
    ),
    Mutant("last half byte not looked at", RC, "size % 2 && nibbles[size / 2] >> 4", "false", Z),
    Mutant(
        "non-atomic count of strange segments",
        RC,
        "atomicAdd(strange, (u64)(count != stored) + half);",
        "*strange += (u64)(count != stored) + half;",
        R,
    ),
    Mutant(
        "escapes joined from the wrong row",
        RC,
        "escapes[s * segment + i]",
        "escapes[s * (segment - 1) + i]",
        Z,
    ),
    Mutant(
        "level of a negative prediction",
        RC,
        "level_of<Code>((Code)((i32)codes[i] - unzigzag(residuals[i])), levels)",
        "level_of<u32>((u32)((i32)codes[i] - unzigzag(residuals[i])), levels)",
        Z,
    ),
    Mutant(
        "lanes beyond the samples have a level",
        RC,
        "const u32 NO_LEVEL = 0xffffffffu;",
        "const u32 NO_LEVEL = 0;",
        Z,
    ),
    Mutant(
        "non-atomic count of levels",
        RC,
        "atomicAdd(table + i / run * levels + level, (u64)__popc(alike));",
        "table[i / run * levels + level] += (u64)__popc(alike);",
        R,
    ),
    Mutant(
        "order within a level lost",
        RC,
        "out[index + __popc(lower)]",
        "out[index + __popc(alike) - 1 - __popc(lower)]",
        Z,
        quick="counted_and_sorted and order0",
    ),
    Mutant(
        "missing barrier of a sorting warp",
        RC,
        "            __syncwarp();  // all have read before one writes\n",
        "",
        Z,
    ),
    Mutant(
        "missing barrier after a warp has sorted",
        RC,
        "            __syncwarp();\n        }\n    }\n}",
        "        }\n    }\n}",
        R,
    ),
    Mutant("places do not move", RC, "places[level] = (i64)index;", "", Z),
    Mutant(
        "runs of odd length",
        TWIN,
        "-(-max(_RUN, -(-codes.size // most_runs)) // 32) * 32",
        "max(_RUN - 1, -(-codes.size // most_runs))",
        Z,
    ),
    Mutant(
        "levels counted on top of garbage", TWIN, "    counts.data.memset_async(0, counts.nbytes)\n", "", Z
    ),
    # Frames of Huffman codes.
    Mutant(
        "bytes counted without atomics",
        HC,
        "atomicAdd(own + part * SYMBOLS + data[at.begin + i], 1u);",
        "own[part * SYMBOLS + data[at.begin + i]] += 1;",
        R,
    ),
    Mutant(
        "last quarter counted too far",
        HC,
        "(part + 1) * quarter < at.size ? (part + 1) * quarter : at.size;",
        "(part + 1) * quarter;",
        H,
    ),
    Mutant("pieces of every frame from the first", HC, "{frame, first + at, number", "{frame, at, number", H),
    Mutant(
        "logarithm by eight bits",
        HC,
        "(((u64)value << 8) >> bit) & 255",
        "(((u64)value << 7) >> bit) & 255",
        H,
    ),
    Mutant(
        "symbols of one count in reverse", HC, "(its == count && other < s)", "(its == count && other > s)", H
    ),
    Mutant(
        "missing barrier before packages are merged",
        HC,
        "w.packages[s] = package;\n        __syncthreads();",
        "w.packages[s] = package;",
        H,
    ),
    Mutant(
        "codes of ten bits",
        HC,
        "for (u32 depth = LONGEST - 1; depth-- > 0;)",
        "for (u32 depth = LONGEST - 2; depth-- > 0;)",
        H,
    ),
    Mutant(
        "codes numbered without the longer ones",
        HC,
        "code = (code + numbers[length]) >> 1",
        "code >>= 1",
        H,
    ),
    Mutant(
        "missing barrier after lengths are counted",
        HC,
        "    atomicAdd(numbers + own, 1u);\n    __syncthreads();",
        "    atomicAdd(numbers + own, 1u);",
        H,
    ),
    Mutant("another probability corrected", HC, "missing > most)) {", "missing >= most)) {", H),
    Mutant("long run of weights not seen", HC, "zeros >= 3; zeros -= 3)", "zeros > 3; zeros -= 3)", H),
    Mutant(
        "states of the weights exchanged",
        HC,
        "bits.put(state, LOG);\n    bits.put(other, LOG);",
        "bits.put(other, LOG);\n    bits.put(state, LOG);",
        H,
    ),
    Mutant("longer description taken", HC, "(!direct || coded < direct)", "(!direct || coded > direct)", H),
    Mutant("pieces share codes at no cost", HC, "bits + (seen ? described : 0)", "bits", H),
    Mutant("codes joined with a piece that has none", HC, "!w.coded[first + i] || ", "", H),
    Mutant("description not paid for", HC, "anew + 8 * w.described < again", "anew < again", H),
    Mutant("symbol without a code overlooked", HC, "flags |= count > 0 && length == 0;", "", H),
    Mutant(
        "stream one bit short",
        HC,
        "sizes[part] = (sizes[part] + 8) / 8",
        "sizes[part] = (sizes[part] + 7) / 8",
        H,
    ),
    Mutant("description written again", HC, "                    described = 0;\n", "", H),
    Mutant(
        "frame longer than its content",
        HC,
        "sizes[frame] = at < frame_size ? at : frame_size",
        "sizes[frame] = at",
        H,
    ),
    Mutant(
        "bits of a shared byte lost",
        HC,
        "(u8)word | w.carried[threadIdx.x + 1]",
        "(u8)word",
        H,
        quick="the_bytes_are_those and noise",
    ),
    Mutant(
        "missing barrier before a byte is shared",
        HC,
        "    __syncthreads();  // what is carried is there\n",
        "",
        H,
    ),
    Mutant("byte shared by three threads", HC, "run = even < 8 ? 8 : even", "run = even", H),
    Mutant(
        "word over the byte of the thread before",
        HC,
        "if (!owed && (u64)to % 4 == 0)",
        "if ((u64)to % 4 == 0)",
        H,
    ),
    Mutant("every stream at the first one's bits", HC, "    begin -= w.bases[part];\n", "", H),
    Mutant(
        "start of a frame forgets its length",
        HUFFMAN,
        "sizes.get().astype(np.int64) + 4)",
        "sizes.get().astype(np.int64))",
        H,
    ),
    Mutant(
        "escapes over the half bytes",
        PACKING,
        "payload[fixed:end].view",
        "payload[first : first + end - fixed].view",
        F,
    ),
    Mutant(
        "all payloads finished",
        FRAMES,
        "if not isinstance(try_huffman(parts, payload.size, compressor, split), HuffmanTrial):",
        "if not spans:",
        F,
    ),
    # Frames of Huffman codes, decoded.
    Mutant(
        "every block has codes of its own",
        DC,
        "block.table = w.latest = codes == NEW_CODES ? number : w.latest;",
        "block.table = w.latest = number;",
        H,
        quick="are_decoded_as and half",
    ),
    Mutant(
        "missing barrier before the tables are used",
        DC,
        "        __syncthreads();  // the tables are there\n",
        "",
        H,
    ),
    Mutant(
        "rest of a stream not looked at",
        DC,
        "return at == 0 && left == 0;",
        "return at == 0 || left == 0;",
        H,
    ),
    Mutant(
        "latest codes lost after eight blocks",
        DC,
        "w.tables[AT_ONCE][i] = w.tables[latest][i];",
        "w.tables[AT_ONCE][i] = w.tables[0][i];",
        H,
    ),
    Mutant(
        "more content than there is room for",
        DC,
        "        if (block.count > content - w.done) return false;\n",
        "",
        H,
    ),
    Mutant("streams beyond their block", DC, "    if (begin + length > size) return false;\n", "", R),
    Mutant("body beyond the Blosc frame", DC, "return body <= size - at ? body : 0;", "return body;", H),
    Mutant("weights of a pair exchanged", DC, ">> (i % 2 ? 0 : 4) & 15", ">> (i % 2 ? 4 : 0) & 15", H),
    Mutant(
        "one state for all weights",
        DC,
        "        state = other;\n        other = next;\n",
        "        state = next;\n",
        H,
    ),
    Mutant("word of a stream one bit off", DC, "<< (32 - left);", "<< (31 - left);", H),
    Mutant("four symbols beyond a stream's end", DC, "count - i >= 4 && ", "", H),
    Mutant(
        "frames left out between blocks of threads",
        DC,
        "for (u64 k = blockIdx.x; k < frames; k += gridDim.x)",
        "for (u64 k = blockIdx.x; k < frames; k += 2 * gridDim.x)",
        H,
    ),
    Mutant("CRC begins with zeros", CRC, "begin ? 0 : 0xffffffffu", "0", H),
    Mutant("CRC of each run alone", CRC, "value = product_of(powers[k], value);", "(void)powers;", H),
    Mutant(
        "runs of the CRC again",
        CRC,
        "begin += thread_count() * CRC_RUN",
        "begin += (thread_count() - 1) * CRC_RUN",
        H,
    ),
    Mutant(
        "CRC of more than the frame", FRAMES, "huffman.crc32(out[4:end], ", "huffman.crc32(out[:end], ", F
    ),
    Mutant(
        "refused frame believed",
        CODER,
        'if "refused" in fetched and fetched["refused"][0]:',
        "if False:",
        F,
    ),
    Mutant(
        "frame opened before it is there",
        SLOTS,
        "        self._own_stream.wait_event(self.event)\n",
        "",
        F,
    ),
    Mutant(
        "unpacked before the frame is open",
        SLOTS,
        "        self.event.record(self._own_stream)\n        self.lane.compute.wait_event(self.event)\n",
        "",
        F,
    ),
    # The launcher.
    Mutant(
        "wavefront stops early",
        TWIN,
        "-(-length // _STEPS) + groups - 1",
        "-(-length // _STEPS) + groups - 2",
        K,
    ),
    Mutant(
        "last frames of the wavefront left out",
        TWIN,
        "groups, bands = -(-frames // group), -(-rows // height)",
        "groups, bands = frames // group, -(-rows // height)",
        K,
    ),
    Mutant(
        "sums not begun at zero",
        TWIN,
        "    strange.data.memset_async(0, strange.nbytes)\n    launch(",
        "    launch(",
        K,
    ),
    Mutant(
        "32-bit number of pixels",
        LAUNCH,
        "np.uint32(bands * per), np.uint64(pixels))",
        "np.uint32(bands * per), np.uint32(pixels))",
        K,
    ),
    Mutant(
        "block too large",
        LAUNCH,
        "(THREADS,), arguments)",
        "(2 * THREADS,), arguments)",
        K,
        quick="quantize_lut_of_every_input and order0-uint8",
    ),
    # The pipeline.
    Mutant(
        "kernels do not wait for the upload",
        SLOTS,
        "        self.event.record(self.lane.up)\n        self.lane.compute.wait_event(self.event)\n",
        "        self.event.record(self.lane.up)\n",
        P,
        quick="every_dtype and (uint16 or int32 or float32)",
    ),
    Mutant(
        "download does not wait for the kernels",
        SLOTS,
        "        self.lane.down.wait_event(self.event)\n",
        "",
        P,
    ),
    Mutant(
        "result read before it is there",
        SLOTS,
        "        self.event.record(self.lane.down)\n        self.event.synchronize()\n",
        "        self.event.record(self.lane.down)\n",
        P,
        quick="every_dtype and (uint16 or int32 or float32)",
    ),
    Mutant(
        "event of an earlier stage",
        SLOTS,
        "        self.event.record(self.lane.compute)\n        self.lane.down",
        "        self.lane.down",
        P,
    ),
    Mutant(
        "upload on a stream of its own mind",
        SLOTS,
        "array.set(host, stream=self.lane.up)",
        "array.set(host, stream=self.lane.down)",
        P,
    ),
    Mutant(
        "table on the wrong stream",
        SLOTS,
        "array.set(np.ascontiguousarray(host), stream=self.compute)",
        "array.set(np.ascontiguousarray(host), stream=self.up)",
        P,
    ),
    Mutant(
        "slot used by two",
        SLOTS,
        "            self._free.remove(slot)\n",
        "",
        P,
        quick="copies_of_one or share_the_chunks",
    ),
    Mutant(
        "zeros on the wrong stream",
        SLOTS,
        "array.data.memset_async(0, array.nbytes, self.cupy.cuda.get_current_stream())",
        "array.data.memset_async(0, array.nbytes, self.up)",
        P,
    ),
    Mutant(
        "pinned memory shared by names", SLOTS, 'self.pinned(f"{name} fetched"', 'self.pinned("fetched"', P
    ),
    Mutant("slot of any device", SLOTS, "if device in (None, slot.lane.number)", "if True", P),
    Mutant(
        "pageable buffer in place of pinned",
        SLOTS,
        "            self._pinned[name] = np.frombuffer(memory, np.uint8, max(nbytes, 1))",
        "            self._pinned[name] = np.frombuffer(memory, np.uint8, max(nbytes, 1)).copy()",
        P,
    ),
    Mutant(
        "piece thought to be there already",
        CODER,
        "if self._on_device != (first, stop):",
        "if self._on_device is None:",
        P,
    ),
    Mutant(
        "band at the wrong row",
        CODER,
        "start, pixels = (first + low) * columns, plan.rows * columns",
        "start, pixels = low * columns, plan.rows * columns",
        P,
    ),
    Mutant(
        "checksum of one band only",
        CODER,
        "    for low, _, bank in banks(codes, plan.band):\n        kernels.add_checksum(",
        "    for low, _, bank in banks(codes, plan.band):\n        total = slot.lane.zeros((1,), "
        "np.uint64)\n        kernels.add_checksum(",
        P,
    ),
    Mutant(
        "part of a band left over",
        BANDS,
        "for first, stop, height in ((0, whole, band_rows), (whole, rows, rows - whole)):\n        if "
        "first < stop:\n            part",
        "for first, stop, height in ((0, whole, band_rows),):\n        if first < stop:\n            part",
        P,
    ),
    Mutant("bands joined within a segment", PACKING, "or sizes[j - 1] % SEGMENT:", "or False:", P),
    Mutant(
        "bank of pixels one row off",
        BANDS,
        "begin = first * columns",
        "begin = (first and first - 1) * columns",
        P,
    ),
    Mutant("checksum not compared", CODER, "                opened.check(total)\n", "", P),
    Mutant(
        "out of memory is final",
        SLOTS,
        "            if piece <= smallest:\n                return self._alone(slot, smallest, work)\n",
        "            raise BackendUnavailableError('full')\n",
        P,
    ),
    Mutant(
        "out of memory is not told",
        SLOTS,
        "                return self._alone(slot, smallest, work)\n",
        "                raise DeviceFull\n",
        P,
    ),
    Mutant(
        "half bytes of a band at the wrong place",
        PACKING,
        "plan.body.nibbles(first + low)",
        "plan.body.nibbles(low)",
        P,
    ),
    Mutant(
        "escapes of a piece from the chunk's start",
        PACKING,
        "opened.escapes[starts[0] : starts[-1]]",
        "opened.escapes[: starts[-1] - starts[0]]",
        P,
    ),
    Mutant(
        "segments of a piece from the chunk's start",
        PACKING,
        "segments = body.places.band_segments(first).start",
        "segments = 0",
        P,
    ),
    Mutant(
        "escapes counted from another band",
        PACKING,
        "            counted[rows[i] : rows[i + 1]],",
        "            counted[rows[0] : rows[i + 1] - rows[i]],",
        P,
    ),
    Mutant(
        "every band has the levels of the first",
        PACKING,
        "plan.body.put_levels(first + low, counted[i])",
        "plan.body.put_levels(first + low, counted[0])",
        P,
    ),
    Mutant(
        "sorted by the places of the first band",
        PACKING,
        "kernels.sort_levels(code, band, places[i]",
        "kernels.sort_levels(code, band, places[0]",
        P,
    ),
    Mutant("contradictions not looked at", CODER, '    check_unpacked(fetched["strange"])\n', "", P),
    Mutant(
        "contradictions begin as garbage",
        CODER,
        "slot.lane.zeros((1,), np.uint64), slot.lane.zeros((1,), np.uint64)",
        "slot.lane.zeros((1,), np.uint64), slot.device('strange', (1,), np.uint64)",
        P,
    ),
    Mutant(
        "unpacked before it is there",
        PACKING,
        'nibbles, escapes = slot.upload("nibbles", short), slot.upload("escapes", long)',
        'escapes, nibbles = slot.upload("escapes", long), slot.device("nibbles", short.shape, '
        "short.dtype)\n    nibbles.set(short, stream=slot.lane.up)",
        P,
    ),
    Mutant(
        "moving weights of one piece only",
        CODER,
        "for piece in pieces], axis=1))\n                    slot.resume",
        "for piece in pieces[:1]], axis=1))\n                    slot.resume",
        P,
    ),
    Mutant(
        "spatial frames of the part band lost",
        BANDS,
        "(whole, rows, rows - whole)):\n            low",
        "(whole, whole, rows - whole)):\n            low",
        P,
    ),
    Mutant(
        "first bad value one too late",
        BANDS,
        "return low\n\n\ndef predict",
        "return low + 1\n\n\ndef predict",
        P,
    ),
)


def copy_of_tree(folder: Path) -> None:
    """Copy what the tests need to ``folder``."""
    for name in ("kernels", "photon_gpu", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.nb[ci]"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "photon_gpu" / "kernels").symlink_to(folder / "kernels", target_is_directory=True)
    (folder / "conftest.py").write_text("")


def killer(folder: Path, tests: tuple[str, ...], only: str = "") -> str:
    """Run the tests in a folder; return the first that fails, else an empty text."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_ADDOPTS", None)  # options of the run outside
    environment["NUMBA_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / f"photon_gpu_mutants_{os.getuid()}")
    for test in tests:
        few = [] if test in RACES else ["-k", only or FEW[test]]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *few, test]
        try:
            run = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
            )
        except subprocess.TimeoutExpired:
            return f"{test} (does not end)"
        if run.returncode == 5:
            raise RuntimeError(f"no test was run: {command}\n{run.stdout[-500:]}")
        if run.returncode:
            failed = re.search(r"^(?:FAILED|ERROR) \S*?::(.*?)(?: - |$)", run.stdout, re.MULTILINE)
            return failed[1] if failed else f"{test} (crashed, {run.returncode})"
    return ""


FEW = {
    "tests/kernels/test_cuda.py": "not order1 and not order2",
    "tests/kernels/test_cuda_residuals.py": "not order2",
    "tests/kernels/zstd_huffman/test_cuda.py": "the_bytes_are or of_any or decoded or claim_more or crc",
    "tests/engine/gpu/test_huffman_frames.py": "frames_come_down or on_the_device or the_cpu",
    "tests/engine/gpu/test_coder.py": (
        "(every_dtype and (uint16 or float32)) or several_bands or smaller_pieces or share_the_chunks "
        "or damage or decoding or told_as_by_numba or copies_of_one or never_sent or leaves_out or sorted "
        "or longer_packed or every_shape"
    ),
}
"""Enough of each file; the whole of it runs in the ordinary test run."""


def main() -> int:
    """Run the mutants asked for; print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="some mutants only")
    parser.add_argument("--only", default="", help="mutants whose name has this word")
    parser.add_argument("--file", default="", help="mutants of files whose path has this word")
    asked = parser.parse_args()
    chosen = [
        m for m in MUTANTS if (m.quick or not asked.quick) and asked.only in m.name and asked.file in m.file
    ]
    survivors, started = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        tests = tuple(dict.fromkeys(test for mutant in chosen for test in mutant.tests))
        tree = Path(scratch, "control")
        tree.mkdir()
        copy_of_tree(tree)
        everything = " or ".join(f"({mutant.quick})" for mutant in chosen) if asked.quick else ""
        if killed_by := killer(tree, tests, everything):
            print(f"the control itself fails: {killed_by}")
            return 1
        print(f"{'control':<48} survives, as it must", flush=True)
        for mutant in chosen:
            path = tree / mutant.file
            text = path.read_text()
            if text.count(mutant.old) < 1:
                print(f"{mutant.name:<48} DOES NOT APPLY")
                survivors.append(mutant.name)
                continue
            path.write_text(text.replace(mutant.old, mutant.new, 1))
            killed_by = killer(tree, mutant.tests, mutant.quick if asked.quick else "")
            path.write_text(text)
            print(f"{mutant.name:<48} {'killed by ' + killed_by if killed_by else 'SURVIVED'}", flush=True)
            if not killed_by:
                survivors.append(mutant.name)
    seconds = time.perf_counter() - started
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} killed in {seconds:.0f} s. No GPU code was run.")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
