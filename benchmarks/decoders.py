"""Compare the decoders on the same payloads: ``python -m benchmarks.decoders [--out docs/measured]``.

The Numba kernels with one thread, libphoton (built by ``make``), libphoton as WebAssembly under Node (needs
``pip install ziglang``; left out where that or Node is missing) and ``decoder/photon_decode.py`` (once, for
information). Each decodes a payload of every preset to counts. They take turns, and processor time counts, so
that other programs matter little. The values are compared. Writes ``decoders.md``.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.support.arguments import parser_of
from benchmarks.support.interleaved_timing import Others, Timing, machine
from decoder import photon_decode
from photon_gpu.encode_settings import PRESETS
from photon_gpu.plugins import engine_payloads
from photon_gpu.plugins.libphoton import Libphoton
from photon_gpu.store.durable import replacing

SOURCES = Path(__file__).parent.parent / "libphoton"
NUMBA, C, WASM, PYTHON = "Numba, one thread", "libphoton", "WebAssembly", "photon_decode.py"
HUGE = "WebAssembly, huge pages"
# NumPy asks Linux for huge pages for large arrays; this is how the C library of Node does.
NODES: dict[str, dict[str, str]] = {WASM: {}, HUGE: {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}}
Action = Callable[[], float]

NODE = """
import fs from "node:fs";
import { createInterface } from "node:readline";
import { loadPhoton } from "./wasm/photon.mjs";
const photon = await loadPhoton(), warm = new Set();
for await (const line of createInterface({ input: process.stdin })) {
  const [payload, out] = line.split("\\t");
  const bytes = fs.readFileSync(payload);
  for (let i = 0; i < 10 && !warm.has(payload); ++i) photon.decode(bytes); // until V8 has optimized the code
  warm.add(payload);
  const begin = process.cpuUsage();
  const { data } = photon.decode(bytes);
  const { user, system } = process.cpuUsage(begin);
  if (out) fs.writeFileSync(out, new Uint8Array(data.buffer));
  console.log((user + system) / 1e6);
}
"""


def build(folder: Path) -> tuple[Path, bool]:
    """Build libphoton in a folder; its path, and whether there is WebAssembly."""
    shutil.copytree(
        SOURCES, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.so", "*.wasm", "fuzz")
    )
    subprocess.run(["make", "-s", "libphoton.so"], cwd=folder, check=True)
    wasm = shutil.which("node") is not None and importlib.util.find_spec("ziglang") is not None
    if wasm:
        make = ["make", "-s", "wasm/photon.wasm", f"PYTHON={sys.executable}"]
        subprocess.run(make, cwd=folder, check=True)
        (folder / "decode.mjs").write_text(NODE)
    return folder / "libphoton.so", wasm


@contextmanager
def node(folder: Path, environment: dict[str, str]) -> Iterator[Callable[[Path, Path | None], float]]:
    """A Node process that decodes payloads; the function returns the processor seconds of one."""
    command = ["node", "decode.mjs"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def decode(payload: Path, out: Path | None) -> float:
            process.stdin.write(f"{payload}\t{out or ''}\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        yield decode
        process.stdin.close()


def timed(work: Callable[[], Any]) -> Action:
    """Return the processor seconds of this process."""

    def action() -> float:
        begin = time.process_time()
        work()
        return time.process_time() - begin

    return action


def payload_of(values: NDArray, noise: pg.NoiseModel, preset: str, target: Path) -> tuple[NDArray, Any]:
    """The only payload of a movie, and its encoding."""
    report = pg.encode(
        values,
        target,
        noise=noise,
        trust_noise=True,
        layout="compact",
        preset=preset,
        chunk_frames=len(values),
        check=False,
    )
    chunk = (target / "0.0.0").read_bytes()
    return np.frombuffer(blosc.decompress(chunk), np.uint8), report.encoding


def measure(frames: int, size: int, rounds: int, folder: Path) -> dict[str, dict[str, Timing]]:
    """Processor seconds of each decoder, by preset."""
    library, wasm = build(folder)
    c_decoder = Libphoton(str(library))
    source = pg.simulate(frames=frames, height=size, width=size, seed=2)
    values = source.read(0, frames)
    results: dict[str, dict[str, Timing]] = {}
    with ExitStack() as stack:
        nodes = {
            name: stack.enter_context(node(folder, variables)) for name, variables in NODES.items() if wasm
        }
        for preset in PRESETS:
            payload, encoding = payload_of(values, source.noise, preset, folder / preset)
            expected = engine_payloads.decode(payload, values.shape, encoding)
            actions = {
                NUMBA: timed(lambda p=payload, e=encoding: engine_payloads.decode(p, values.shape, e)),
                C: timed(lambda p=payload, e=encoding: c_decoder.decode(p, values.shape, e)),
            }
            np.testing.assert_array_equal(c_decoder.decode(payload, values.shape, encoding), expected)
            for name, in_node in nodes.items():
                file, out = folder / f"{preset}.payload", folder / f"{preset}.counts"
                file.write_bytes(payload.tobytes())
                in_node(file, out)
                decoded = np.fromfile(out, expected.dtype).reshape(expected.shape)
                np.testing.assert_array_equal(decoded, expected)
                actions[name] = lambda file=file, in_node=in_node: in_node(file, None)
            seconds: dict[str, list[float]] = {name: [] for name in actions}
            for turn in range(rounds + 1):
                for name, action in actions.items():
                    spent = action()
                    if turn:
                        seconds[name].append(spent)
            one = timed(lambda preset=preset: photon_decode.Movie(str(folder / preset)).chunk(0))
            results[preset] = {name: Timing(tuple(each)) for name, each in seconds.items()}
            results[preset][PYTHON] = Timing((one(),))
    return results


def page(results: dict[str, dict[str, Timing]], samples: int, busy: float | None) -> str:
    """Return ``decoders.md``."""
    lines = [
        "# Decoders",
        "",
        "Written by `python -m benchmarks.decoders`: one payload of layout `compact` decoded to counts by",
        "one thread, in processor time, medians of turns, each into a new array. NumPy asks Linux for huge",
        "pages for it, and so does Node if `GLIBC_TUNABLES=glibc.malloc.hugetlb=1`. `photon_decode.py`",
        "decodes once, and opens the chunk, too.",
        "",
        f"{machine()}, {datetime.date.today().isoformat()}; {samples / 1e6:.1f} million samples"
        + ("" if busy is None else f"; other programs used {busy:.0f} % of all cores")
        + ".",
        "",
        "| preset | decoder | million samples/s | against Numba |",
        "|---|---|---|---|",
    ]
    for preset, timings in results.items():
        for name, timing in timings.items():
            speed, ratio = samples / 1e6 / timing.median, timings[NUMBA].median / timing.median
            lines.append(f"| {preset} | {name} | {speed:,.{0 if speed > 10 else 1}f} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> Path:
    parser = parser_of(__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, default=256, help="rows and columns of a frame")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("docs/measured"))
    options = parser.parse_args(arguments)
    others = Others()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options.frames, options.size, options.rounds, Path(folder))
    text = page(results, options.frames * options.size**2, others.percent())
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    with replacing(options.out / "decoders.md") as file:
        file.write(text.encode())
    return options.out / "decoders.md"


if __name__ == "__main__":
    main()
