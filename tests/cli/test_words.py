"""What a file says besides pixels, and what is added to it, in every command."""

from __future__ import annotations

import numpy as np
import tifffile

import photon_gpu as pg

NOISE = ("--gain", 1, "--trust-noise", "--check", "off")


def test_attributes_and_times_are_taken_everywhere_and_shown(cli, counts, tmp_path):
    tifffile.imwrite(
        "m.tif",
        counts,
        imagej=True,
        resolution=(2, 2),
        metadata={"axes": "TYX", "finterval": 0.5, "unit": "um"},
    )
    np.savetxt("times.txt", np.arange(len(counts)) / 3)
    added = ("--attribute", "mouse=7", "--attribute", "rig=left", "--timestamps", "times.txt")
    for command in ("encode", "record"):
        ran = cli(command, "m.tif", f"{command}.zarr", *NOISE, *added)
        assert ran.code == 0, ran.err
        movie = pg.open(tmp_path / f"{command}.zarr")
        assert (movie.attrs["mouse"], movie.attrs["rig"], movie.axes) == (7, "left", "tyx")
        np.testing.assert_allclose(movie.timestamps, np.arange(len(counts)) / 3)
        shown = cli("info", f"{command}.zarr").out
        assert "0.5 µm (y), 0.5 µm (x)" in shown and "2 Hz" in shown and "tiff/ImageDescription" in shown
        told = cli("info", f"{command}.zarr", "--json").json
        assert told["recording"]["axes"] == "tyx" and told["source_metadata"]["tiff/ImageDescription"] > 0
        assert cli("decode", f"{command}.zarr", "back.tif", "--overwrite").code == 0
        with tifffile.TiffFile("m.tif") as before, tifffile.TiffFile("back.tif") as after:
            assert after.imagej_metadata == before.imagej_metadata


def test_attributes_and_times_that_cannot_be_kept_are_refused(cli, counts, tmp_path):
    np.save("m.npy", counts)
    (tmp_path / "watched").mkdir()
    for words, text in (
        (("encode", "m.npy", "x.zarr", "--attribute", "mouse"), "KEY=VALUE is needed"),
        (("encode", "m.npy", "x.zarr", "--attribute", "photon_recording=1"), "own key"),
        (("encode", "m.npy", "x.zarr", "--timestamps", "gone.txt"), "no timestamps can be read"),
        (("record", "-", "x.zarr", "--timestamps", "gone.txt"), "is for files that are complete"),
        (("watch", "watched", "x.zarr", "--timestamps", "gone.txt"), "No such option: --timestamps"),
        (("estimate", "m.npy", "--timestamps", "gone.txt"), "No such option: --timestamps"),
        (("report", "m.npy", "x.zarr", "--timestamps", "gone.txt"), "No such option: --timestamps"),
    ):
        ran = cli(*words)
        assert ran.code == 2 and text in " ".join(ran.err.split()), ran.err
        assert not (tmp_path / "x.zarr").exists()
