"""libphoton as WebAssembly, under Node: alone, and as a codec of zarrita."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.golden_names import GOLDEN, LISTED

FOLDER = Path(__file__).parents[2] / "libphoton"
COMPACT = [name for name in LISTED if name.startswith("compact")]

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="pip install ziglang"),
]

DECODE_ALL = """
import fs from "node:fs";
import { loadPhoton } from "./wasm/photon.mjs";
const photon = await loadPhoton();
for (const line of fs.readFileSync(0, "utf8").trim().split("\\n")) {
  const [chunk, out, stabilized] = line.split("\\t");
  const { data, frames, shape } = photon.decode(fs.readFileSync(chunk), { stabilized: stabilized === "1" });
  const kept = data.subarray(0, frames * shape.slice(1).reduce((a, b) => a * b, 1));
  fs.writeFileSync(out, new Uint8Array(kept.buffer, 0, kept.byteLength));
}
const damaged = Uint8Array.from(photon.openFrame(fs.readFileSync(process.argv[2])));
damaged[damaged.length - 1] ^= 1;
try {
  photon.decode(damaged);
  console.log("nothing was noticed");
} catch (error) {
  console.log(error.message);
}
"""

BY_ZARRITA = """
import fs from "node:fs";
import * as zarr from "zarrita";
import { loadPhoton, zarritaCodec } from "./wasm/photon.mjs";
const photon = await loadPhoton();
for (const name of ["photon", "numcodecs.photon"]) zarr.registry.set(name, async () => zarritaCodec(photon));
const store = {
  async get(key) {
    const path = process.argv[2] + key;
    return fs.existsSync(path) ? new Uint8Array(fs.readFileSync(path)) : undefined;
  },
};
const array = await zarr.open.v2(store, { kind: "array" });
const frame = await zarr.get(array, [zarr.slice(3, 5), ...array.shape.slice(1).map(() => null)]);
console.log(JSON.stringify({ shape: frame.shape, data: Array.from(frame.data) }));
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("libphoton")
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.wasm", "*.so"))
    make = ["make", "-s", "wasm/photon.wasm", f"PYTHON={sys.executable}"]
    subprocess.run(make, cwd=folder, check=True, timeout=900)
    return folder


def test_decodes_every_golden_store(built, tmp_path):
    lines, files = [], []
    for name in COMPACT:
        chunks = sorted(
            (GOLDEN / name / "store").glob("[0-9]*"), key=lambda path: int(path.name.split(".")[0])
        )
        for stabilized, expected in enumerate(("counts.npy", "stabilized.npy")):
            outs = [tmp_path / f"{name}-{stabilized}-{chunk.name}" for chunk in chunks]
            lines += [f"{chunk}\t{out}\t{stabilized}" for chunk, out in zip(chunks, outs, strict=True)]
            files.append((outs, GOLDEN / name / expected))
    (built / "all.mjs").write_text(DECODE_ALL)
    chunk = str(GOLDEN / "compact-2.4-full" / "store" / "0.0.0")
    done = subprocess.run(
        ["node", "all.mjs", chunk],
        cwd=built,
        input="\n".join(lines),
        text=True,
        capture_output=True,
        check=True,
    )
    assert "altered" in done.stdout or "no whole" in done.stdout
    for outs, expected in files:
        values = np.load(expected)
        assert b"".join(out.read_bytes() for out in outs) == np.ascontiguousarray(values).tobytes(), expected


@pytest.mark.parametrize(
    "name", ["compact-2.4-full", "compact-2.7-peaks-channels", "compact-2.5-planes-channels"]
)
def test_zarrita_reads_a_slice(built, name):
    install = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "zarrita@0.7"]
    if subprocess.run(install, cwd=built, capture_output=True, timeout=300).returncode:
        pytest.skip("zarrita cannot be installed: npm reaches no registry")
    (built / "zarrita.mjs").write_text(BY_ZARRITA)
    store = GOLDEN / name / "store"
    done = subprocess.run(["node", "zarrita.mjs", str(store)], cwd=built, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = np.load(store.parent / "counts.npy")[3:5]
    result = json.loads(done.stdout)
    assert result["shape"] == list(expected.shape)
    np.testing.assert_array_equal(np.reshape(result["data"], expected.shape), expected)
