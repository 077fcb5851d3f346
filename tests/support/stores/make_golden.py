"""Make the golden stores that do not exist yet: ``python -m tests.support.stores.make_golden``.

It replaces none. Each folder holds what this release wrote (``store/``), what went in (``input.npy``), and
what came out again (``counts.npy``, ``stabilized.npy``). Later releases must read the same out of it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

import photon_gpu as pg
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.layouts.compact import Compact
from photon_gpu.recording import Document, Recording
from photon_gpu.sources.open import open_source
from tests.support.stores.golden_names import GOLDEN

CAMERA = pg.NoiseModel(gain=2.3, offset=95.0, variance=8.0)
PMT = pg.NoiseModel(gain=100.0, offset=92.0)
DARK = pg.NoiseModel(gain=100.0, offset=500.0, variance=625.0)
TWO = (
    (pg.NoiseModel(gain=80.0, offset=100.0, variance=400.0), 20.0),
    (pg.NoiseModel(gain=20.0, offset=90.0, variance=25.0), 6.0),
)
"""Noise model and light of two channels."""
WEIGHTS = ((0, 0, 0, 0, 0, 0, 84, 47, 16, 40, 723), (107, -7, 1, -3, 22, 18, 34, 17, 12, 16, -7))


def movie(dtype: str, noise: pg.NoiseModel, photons: float, shape: tuple[int, ...]) -> np.ndarray:
    """Make a small noisy gradient by an integer generator, as NumPy's may change."""
    count = int(np.prod(shape))
    state, values = 12345, np.empty(count)
    for i in range(count):
        state = (1103515245 * state + 12345) % 2**31
        values[i] = state / 2**31
    light = photons * (1 + np.arange(count) % shape[-1]) / shape[-1]
    noisy = (
        noise.offset
        + noise.gain * light
        + (values - 0.5) * 3.4 * np.sqrt(noise.gain**2 * light + noise.variance)
    )
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    out = np.rint(noisy) if info else noisy
    return (np.clip(out, info.min, info.max) if info else out).reshape(shape).astype(dtype)


def _predictor(name: str) -> Predictor:
    return Predictor(name=name, rate=16, weights=WEIGHTS)


CASES: dict[str, dict] = {
    "plain-1.3-uint16": dict(dtype="uint16", noise=CAMERA, photons=40.0, layout="plain"),
    "plain-1.3-documented": dict(
        dtype="uint16", noise=pg.NoiseModel(), photons=40.0, layout="plain", compressor="zstd-5-bitshuffle"
    ),
    "plain-1.3-int16-dither": dict(dtype="int16", noise=PMT, photons=2.0, layout="plain", dither=7),
    "plain-1.3-float32": dict(dtype="float32", noise=CAMERA, photons=40.0, layout="plain"),
    # A stream for each plane of bytes in the whole blocks, one in the short last block.
    "plain-1.3-planes": dict(
        dtype="uint16",
        noise=CAMERA,
        photons=40.0,
        layout="plain",
        compressor="zstd-1-shuffle-65536",
        shape=(6, 70, 64),
    ),
    # Stores of plain 1.0 to 1.2, compact 2.0 to 2.3, and lossless 3.0 and 3.1 must stay readable; this
    # release cannot write them.
    **{
        f"compact-2.4-{name}": dict(
            dtype="int16", noise=PMT, photons=2.0, layout="compact", predictor=_predictor(name)
        )
        for name in ("none", "mean", "past", "full", "spatial")
    },
    "compact-2.4-wide": dict(
        dtype="uint16",
        noise=pg.NoiseModel(),
        photons=30000.0,
        layout="compact",
        step=0.25,
        predictor=_predictor("past"),
    ),
    "compact-2.4-uint32": dict(
        dtype="uint32", noise=CAMERA, photons=4e6, layout="compact", predictor=_predictor("mean")
    ),
    "compact-2.4-exact-values": dict(
        dtype="uint8", noise=pg.NoiseModel(), photons=0.3, layout="compact", preset="small"
    ),
    "compact-2.4-dither": dict(
        dtype="uint16", noise=CAMERA, photons=4.0, layout="compact", dither=99, predictor=_predictor("mean")
    ),
    "compact-2.4-dim": dict(
        dtype="uint16",
        noise=pg.NoiseModel(gain=1.8, offset=100.75, variance=0.81),
        photons=4.0,
        layout="compact",
        predictor=_predictor("past"),
        shape=(9, 12, 16),
    ),
    "compact-2.4-4d": dict(
        dtype="uint16",
        noise=CAMERA,
        photons=40.0,
        layout="compact",
        predictor=_predictor("full"),
        shape=(5, 2, 4, 6),
    ),
    # Sorted residuals with enough samples to be packed; some are escapes.
    **{
        f"compact-2.4-sorted-{name}": dict(
            dtype="uint8",
            noise=pg.NoiseModel(),
            photons=9.0,
            layout="compact",
            predictor=replace(_predictor(name), levels=levels),
            shape=(6, 40, 41),
        )
        for name, levels in (("full", 64), ("spatial", 3))
    },
    "compact-2.4-moving": dict(
        dtype="int16",
        noise=PMT,
        photons=9.0,
        layout="compact",
        predictor=_predictor("moving"),
        shape=(6, 40, 41),
    ),
    "compact-2.4-sorted-moving": dict(
        dtype="uint8",
        noise=pg.NoiseModel(),
        photons=9.0,
        layout="compact",
        predictor=replace(_predictor("moving"), levels=16),
        shape=(6, 40, 41),
    ),
    "compact-2.4-wide-packed": dict(
        dtype="uint16",
        noise=pg.NoiseModel(),
        photons=3000.0,
        layout="compact",
        step=0.25,
        predictor=replace(_predictor("full"), levels=255),
        shape=(6, 30, 31),
    ),
    # Coded: of enough samples to be shorter so, in several bands, with residuals above those that are
    # symbols.
    **{
        f"compact-2.4-coded-{name}": dict(
            dtype=dtype,
            noise=pg.NoiseModel(),
            photons=photons,
            layout="compact",
            step=step,
            predictor=replace(_predictor(name), levels=levels, coded=True),
            shape=(2, 20, 1030),
        )
        for name, dtype, photons, step, levels in (
            ("full", "uint8", 9.0, 0.5, 64),
            ("spatial", "uint16", 3000.0, 0.25, 255),
            ("moving", "uint8", 0.7, 0.5, 16),
        )
    },
    # Few samples, for which byte planes are shorter.
    "compact-2.4-coded-few": dict(
        dtype="uint16",
        noise=pg.NoiseModel(),
        photons=3000.0,
        layout="compact",
        predictor=replace(_predictor("full"), levels=2, coded=True),
        shape=(7, 2, 3),
    ),
    # Frames of Huffman codes only, in several blocks of Blosc.
    "compact-2.4-huffman": dict(
        dtype="uint8",
        noise=pg.NoiseModel(),
        photons=0.5,
        layout="compact",
        predictor=Predictor(name="none"),
        compressor="zstd-1-none-4096",
        shape=(6, 60, 64),
    ),
    # The second chunk has unquantized values.
    **{
        f"compact-2.4-raw-{dtype}": dict(
            dtype=dtype, noise=CAMERA, photons=40.0, layout="compact", predictor=_predictor("mean"), raw=4
        )
        for dtype in ("int16", "float64")
    },
    "compact-2.4-recording": dict(
        dtype="uint16",
        noise=CAMERA,
        photons=40.0,
        layout="compact",
        predictor=_predictor("mean"),
        shape=(7, 2, 4, 6),
        recording=Recording(
            axes="tcyx",
            channel_names=("green", "red"),
            pixel_size={"y": (0.5, "um"), "x": (0.25, "um")},
            frame_rate=30.0,
            timestamps=np.arange(7) / 30,
            documents=(
                Document(name="tiff/Software", media_type="text/plain", data=b"SI.VERSION_MAJOR = 2020"),
            ),
            not_kept=("what ExifTag says",),
        ),
    ),
    # Several channels, each with its noise model; the last chunk is shorter.
    **{
        f"{name}-channels": dict(channels=TWO, layout=name.partition("-")[0], **more)
        for name, more in (
            ("plain-1.3", {}),
            ("plain-1.3-dither", {"dither": 7}),
            ("compact-2.5", {}),
            ("compact-2.5-dither", {"dither": 7, "predictor": "mean"}),
            ("lossless-3.2", {}),
        )
    },
    "compact-2.5-planes-channels": dict(channels=TWO, layout="compact", axes="tzcyx"),
    # .zattrs with axes and instructions for reading, which the stores above lack.
    **{
        f"{name}-dimensions": dict(
            dtype="uint16", noise=CAMERA, photons=40.0, layout=name.partition("-")[0], predictor=predictor
        )
        for name, predictor in (("plain-1.3", None), ("compact-2.4", _predictor("mean")))
    },
    # Values pile up at both ends, at the lower one of a movie of few photons, and in one of two channels.
    **{
        f"{name}-clipped": dict(
            dtype=dtype, noise=PMT, photons=80.0, layout=name.partition("-")[0], clip=(1000, 6001), **more
        )
        for name, dtype, more in (
            ("plain-1.3", "uint16", {}),
            ("plain-1.3-uint32", "uint32", {}),
            ("compact-2.6", "int16", {"predictor": _predictor("full")}),
            ("compact-2.6-uint32", "uint32", {"predictor": _predictor("mean")}),
            ("compact-2.6-dither", "uint16", {"dither": 7, "predictor": _predictor("mean")}),
        )
    },
    "compact-2.6-dim-clipped": dict(
        dtype="uint16",
        noise=pg.NoiseModel(gain=4.5, offset=0.0, variance=9.0),
        photons=3.0,
        layout="compact",
        predictor=_predictor("past"),
        clip=(2, 99),
    ),
    **{
        f"{name}-clipped-channels": dict(channels=TWO, layout=name.partition("-")[0], clip=(0, 1023))
        for name in ("plain-1.3", "compact-2.6")
    },
    # A dark movie with bins for its photon peaks, also with levels at which values pile up, and of channels.
    "compact-2.7-peaks": dict(
        dtype="int16", noise=DARK, photons=3.0, layout="compact", peaks=2, predictor=_predictor("full")
    ),
    "compact-2.7-peaks-uint32": dict(
        dtype="uint32", noise=DARK, photons=1.0, layout="compact", peaks=3, predictor=_predictor("mean")
    ),
    "compact-2.7-peaks-clipped": dict(
        dtype="int16", noise=DARK, photons=4.0, layout="compact", peaks=2, clip=(470, 930)
    ),
    "compact-2.7-peaks-channels": dict(channels=((DARK, 1.0), (TWO[0][0], 2.0)), layout="compact", peaks=1),
    "lossless-3.2-int16": dict(dtype="int16", noise=PMT, photons=2.0, layout="lossless"),
    # Blosc cannot compress its chunks.
    "lossless-3.2-noise": dict(
        dtype="uint16",
        noise=pg.NoiseModel(offset=32768.0, variance=3.6e8),
        photons=1.0,
        layout="lossless",
        trust_noise=True,
    ),
    "lossless-3.2-float64": dict(dtype="float64", noise=CAMERA, photons=40.0, layout="lossless"),
}


def make(name: str, folder: Path) -> None:
    """Write one golden folder."""
    case = dict(CASES[name])
    shape = case.pop("shape", (7, 6, 9))
    if channels := case.pop("channels", None):
        axes = case.setdefault("axes", "tcyx")
        shape = shape if axes == "tcyx" else (7, 2, 6, 9)
        parts = [movie("int16", noise, photons, shape) for noise, photons in channels]
        values = np.stack(parts, axes.index("c"))
        case["noise"] = [noise for noise, _ in channels]
    else:
        values = movie(case.pop("dtype"), case["noise"], case.pop("photons"), shape)
    if clip := case.pop("clip", None):
        values = np.clip(values, *clip).astype(values.dtype)
        case["trust_noise"] = True
    raw = case.pop("raw", None)
    source = open_source(values)
    source.recording = case.pop("recording", source.recording)
    folder.mkdir(parents=True)
    np.save(folder / "input.npy", values)
    quantized = Compact.encode

    def encode(self, values, chunk, resources, first_frame=0):
        """Store values as they are, as a live writer does if they cannot be quantized."""
        if first_frame == raw:
            return self.encode_raw(values, chunk, first_frame)
        return quantized(self, values, chunk, resources, first_frame)

    with mock.patch.object(Compact, "encode", encode):
        pg.encode(source, folder / "store", chunk_frames=4, **case)
    opened = pg.open(folder / "store")
    np.save(folder / "counts.npy", opened.counts[...])
    np.save(folder / "stabilized.npy", opened[...])


def main() -> None:
    """Write the stores that are missing, and the list of all stores."""
    for name in CASES:
        if not (GOLDEN / name).exists():
            make(name, GOLDEN / name)
            print("made", name)
    listed = sorted(path.name for path in GOLDEN.iterdir() if (path / "store" / ".zarray").exists())
    (GOLDEN / "index.json").write_text(json.dumps(listed, indent=1) + "\n")


if __name__ == "__main__":
    main()
