"""Count the vector instructions of each compiled kernel: ``python -m benchmarks.vector_instructions``.

Compiles every kernel for the types of a 16-bit movie, and counts in its best loop the vector instructions of
arithmetic and their width. A table lookup is one load per sample, so its loop is scalar. The CSV goes to
benchmarks/results/, and ``python -m benchmarks.tables`` makes a page of it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.arguments import parser_of
from benchmarks.support.results_csv import RESULTS, path_of, save
from photon_gpu.engine.codec.predictors import mix
from photon_gpu.kernels.cpu_sqrt_quantize import quantize_sqrt

COLUMNS = ("date", "machine", "kernel", "bits", "packed", "instructions")

_LABEL = re.compile(r"^(\.L\w+):")
_JUMP = re.compile(r"^\s+j\w+\s+(\.L\w+)\b")
_INSTRUCTION = re.compile(r"^\s+([a-z]\w*)\s*(.*)$")
# Packed arithmetic, comparisons and conversions, without moves.
_PACKED = re.compile(
    r"^v?(p(add|sub|mul|madd|and|or|xor|min|max|cmp|s[rl]l|sra|abs|tern|movzx|movsx|movw|movd[bw]|movq[bdw]|ack|unpck)\w*"
    r"|(add|sub|mul|div|min|max|cmp|and|or|xor|fm?n?add\d*|cvt\w+2)p[sd]\w*|cvt\w+2p[sd]\w*|cvttp[sd]\w*)$"
)
_REGISTER = re.compile(r"%?([xyz]mm)\d+")
_BITS = {"xmm": 128, "ymm": 256, "zmm": 512}


@dataclass(frozen=True)
class Loop:
    """A loop without inner loops: its instructions, those on vectors, and the bits of the widest."""

    instructions: int
    packed: int
    bits: int


def loops(text: str) -> list[Loop]:
    """All loops of an assembly text, each without inner loops.

    >>> loops(".L1:\\n vpaddd %ymm0, %ymm1, %ymm1\\n addq $32, %rax\\n jne .L1\\n")
    [Loop(instructions=3, packed=1, bits=256)]
    """
    lines, places, spans = text.splitlines(), {}, []
    for number, line in enumerate(lines):
        if results := _LABEL.match(line):
            places[results[1]] = number
        elif (results := _JUMP.match(line)) and results[1] in places:
            spans.append((places[results[1]], number))
    spans = list(dict.fromkeys(spans))
    results = []
    for start, stop in spans:
        within = [(a, b) for a, b in spans if (a, b) != (start, stop) and start <= a and b <= stop]
        own = [n for n in range(start, stop + 1) if not any(a <= n <= b for a, b in within)]
        results.append(_loop([lines[n] for n in own]))
    return results


def _loop(lines: list[str]) -> Loop:
    count = packed = bits = 0
    for line in lines:
        match = _INSTRUCTION.match(line)
        if not match:
            continue
        count += 1
        wide = [_BITS[register] for register in _REGISTER.findall(match[2])]
        if wide and _PACKED.match(match[1]):
            packed, bits = packed + 1, max(bits, *wide)
    return Loop(count, packed, bits)


def best(loops: list[Loop]) -> Loop:
    """The loop with the most vector instructions, if these are at least a tenth of its instructions."""
    able = [loop for loop in loops if 10 * loop.packed >= loop.instructions]
    return max(able, key=lambda loop: (loop.packed, -loop.instructions), default=Loop(0, 0, 0))


def compiled(name: str) -> Any:
    """Return the kernel of this name."""
    from photon_gpu.kernels import cpu

    return quantize_sqrt if name == "quantize_sqrt" else getattr(cpu, name)


def calls() -> dict[str, Callable[[Any], object]]:
    """One call per kernel, with the types of a 16-bit movie and one-byte codes."""
    values, codes = np.full((4, 64), 7, np.uint16), np.ones((4, 8, 8), np.uint8)
    flat, out = codes.reshape(4, -1), np.empty((4, 8, 8), np.uint8)
    state, steps = np.empty((3, 10, 10), np.int32), np.full(4, 8, np.int32)
    weights, lut = np.zeros((2, 11), np.int32), np.zeros((16, 1 << 16), np.uint8)
    each = mix(weights, 4)
    table, counts = np.zeros((16, 256), np.uint16), np.empty((4, 64), np.uint16)
    residuals, extents = np.ones(256, np.uint8), np.empty(6, np.uint16)
    nibbles, escapes, starts = np.zeros(128, np.uint8), np.zeros((1, 256), np.uint8), np.zeros(2, np.int64)
    return {
        "extent": lambda k: k.extent(values.reshape(-1), extents),
        "quantize_lut": lambda k: k.quantize_lut(values, lut[0], out.reshape(4, -1)),
        "quantize_lut_phased": lambda k: k.quantize_lut_phased(values, lut, 7, 0, 64, out.reshape(4, -1)),
        "subtract": lambda k: k.subtract(values, 3, out.reshape(4, -1)),
        "dequantize": lambda k: k.dequantize(flat, table[0], counts),
        "dequantize_phased": lambda k: k.dequantize_phased(flat, table, 7, 0, 64, counts),
        "codes_from_labels": lambda k: k.codes_from_labels(np.ones(64), 0.5, np.empty(64, np.int32)),
        "checksum": lambda k: k.checksum(flat, 0, 64),
        "predict_mean": lambda k: k.predict_mean(flat, steps, 1, state.reshape(-1), out.reshape(4, -1)),
        "restore_mean": lambda k: k.restore_mean(flat, steps, 1, state.reshape(-1), out.reshape(4, -1)),
        "predict_past": lambda k: k.predict_past(codes, weights, steps, state, out),
        "restore_past": lambda k: k.restore_past(codes, weights, steps, state, out),
        "predict_full": lambda k: k.predict_full(codes, each, steps, state, out),
        "restore_full": lambda k: k.restore_full(codes, each, steps, state, out),
        "pack": lambda k: k.pack(residuals, 256, nibbles, escapes, np.empty(1, np.int64)),
        "unpack": lambda k: k.unpack(nibbles, escapes.reshape(-1), starts, 256, np.empty(256, np.uint8)),
        "quantize_sqrt": lambda _: quantize_sqrt(
            values.reshape(-1), 64, np.ones(5, np.float32), 0, out.reshape(4, -1)
        ),
    }


def inspected(names: list[str]) -> dict[str, Loop]:
    """Best loop of each kernel, compiled in a separate process, because cached code has no assembly."""
    command = [sys.executable, "-m", "benchmarks.vector_instructions", "--here", json.dumps(names)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "NUMBA_CACHE_DIR": folder},
        )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return {name: Loop(**loop) for name, loop in json.loads(done.stdout.splitlines()[-1]).items()}


def _here(names: list[str]) -> dict[str, dict]:
    from photon_gpu.kernels import cpu

    by_kernel = {}
    for name in names:
        calls()[name](cpu)
        texts = compiled(name).inspect_asm().values()
        by_kernel[name] = asdict(best([loop for text in texts for loop in loops(text)]))
    return by_kernel


def page(rows: list[dict[str, str]]) -> str:
    """Return the text of docs/measured/vector_instructions.md."""
    table = ["| kernel | widest vectors, bits | vector instructions in its loop |", "|---|---|---|"]
    for row in rows:
        packed = f"{row['packed']} of {row['instructions']}" if int(row["packed"]) else ""
        table.append(f"| {row['kernel']} | {row['bits'] if packed else 'none: scalar'} | {packed} |")
    intro = (
        f"{rows[0]['machine']}, {rows[0]['date']}. Every kernel is compiled anew for the types of a 16-bit"
        " movie, and the best loop of its machine code is counted. A table lookup is one load per sample,"
        " so its loop is scalar; permutations within registers are not counted. Tests ask eight of the"
        " kernels for vectors of at least 256 bits, and for two fifths of the instructions."
    )
    return "\n".join([intro, "", *table])


def main(arguments: list[str] | None = None) -> dict[str, Loop]:
    parser = parser_of(__doc__)
    parser.add_argument("--kernel", action="append", choices=list(calls()), help="only this one; repeat it")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.here:
        print(json.dumps(_here(json.loads(options.here))))
        return {}
    loops_by_kernel = inspected(options.kernel or list(calls()))
    rows: list[dict[str, Any]] = [{"kernel": name, **asdict(loop)} for name, loop in loops_by_kernel.items()]
    target = path_of("vector_instructions", options.results)
    save(target, COLUMNS, rows, "kernel")
    print("\n".join([*map(str, rows), str(target)]))
    return loops_by_kernel


if __name__ == "__main__":
    main()
