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

from tests.support.npm import npm_install
from tests.support.stores.golden_names import GOLDEN, LISTED

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

IN_TYPESCRIPT = """
import fs from "node:fs";
import * as photonDecode from "photon-decode";
import { loadPhoton, zarritaCodec, Photon, PhotonError } from "photon-decode";
import type { PhotonArray, PhotonChunk } from "photon-decode";
import * as zarr from "zarrita";

const declared: Record<keyof typeof photonDecode, true> = {
  Photon: true, PhotonError: true, loadPhoton: true, zarritaCodec: true,
};
const photon: Photon = await loadPhoton();
zarr.registry.set("numcodecs.photon", async () => zarritaCodec(photon));
const payload: Uint8Array = photon.openFrame(fs.readFileSync(process.argv[2]!));
const { data, shape, frames }: PhotonChunk = photon.decode(payload, { stabilized: false, channelAxis: 1 });
const values: PhotonArray = data;
const first: number | bigint | undefined = values[0];
let refused = "";
try {
  photon.decode(payload.subarray(9));
} catch (error) {
  if (error instanceof PhotonError) refused = error.message;
}
console.log(JSON.stringify({
  declared: Object.keys(declared), exported: Object.keys(photonDecode), first, shape, frames, refused,
}));

export async function others() {
  await loadPhoton(await fetch("photon.wasm"));
  await loadPhoton(new URL("https://example.org/photon.wasm"));
  await loadPhoton(new Uint8Array(8));
  // @ts-expect-error: bytes, not their path
  photon.decode("0.0.0");
  // @ts-expect-error: no such option
  photon.decode(payload, { stabilised: true });
  // @ts-expect-error: frames are counted
  const text: string = frames;
}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("libphoton")
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.wasm", "*.so"))
    make = ["make", "-s", "wasm/photon.wasm", f"PYTHON={sys.executable}"]
    subprocess.run(make, cwd=folder, check=True, timeout=900)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """The folder, with this package, zarrita and TypeScript installed."""
    npm_install(built, "./wasm", "zarrita@0.7", "typescript@5.9", "@types/node@20")
    return built


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
def test_zarrita_reads_a_slice(installed, name):
    (installed / "zarrita.mjs").write_text(BY_ZARRITA)
    store = GOLDEN / name / "store"
    done = subprocess.run(["node", "zarrita.mjs", str(store)], cwd=installed, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = np.load(store.parent / "counts.npy")[3:5]
    result = json.loads(done.stdout)
    assert result["shape"] == list(expected.shape)
    np.testing.assert_array_equal(np.reshape(result["data"], expected.shape), expected)


def test_typescript_accepts_the_types_and_they_are_those_of_the_module(installed):
    (installed / "package.json").write_text('{"type": "module"}')
    (installed / "use.ts").write_text(IN_TYPESCRIPT)
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2023,dom"]
    tsc = ["node", "node_modules/typescript/bin/tsc", *options, "--types", "node"]
    # skipLibCheck leaves out all files .d.ts: zarrita's have faults of their own.
    for files in (["--noEmit", "wasm/photon.d.ts"], ["--skipLibCheck", "use.ts"]):
        done = subprocess.run([*tsc, *files], cwd=installed, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    store = GOLDEN / "compact-2.4-full" / "store"
    done = subprocess.run(
        ["node", "use.js", str(store / "0.0.0")], cwd=installed, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    counts = np.load(store.parent / "counts.npy")
    assert sorted(result["declared"]) == sorted(result["exported"])
    assert result["first"] == counts.flat[0] and result["shape"][1:] == list(counts.shape[1:])
    assert "no whole" in result["refused"]
