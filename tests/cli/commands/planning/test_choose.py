"""``photon-gpu choose``: table, JSON, picture, exit codes."""

import json

import numpy as np
import pytest

import photon_gpu as pg
from tests.support.noise.detector_models import detect

GAIN = ("--gain", 100, "--offset", 90, "--variance", 900)
QUICK = (*GAIN, "--redraws", 4)


@pytest.fixture
def raw(tmp_path):
    np.save(tmp_path / "cells.npy", np.asarray(pg.simulate(frames=80, height=32, width=32, cells=3, seed=3)))
    (tmp_path / "my_lab.py").write_text(
        "def levels(movie):\n    return len(set(movie.ravel().tolist()))\n\n"
        "def first(movie):\n    return movie[0].mean()\n"
    )
    return tmp_path


def test_it_prints_a_table_and_the_command_that_encodes(cli, raw):
    ran = cli("choose", "cells.npy", *QUICK, "--step", 0.5, "--step", 4)
    assert (ran.code, ran.err) == (0, "")
    head, small, large = (line for line in ran.out.splitlines() if line.startswith("  ") and ":" not in line)
    assert head.split()[:2] == ["step", "smaller"]
    assert (small.split()[-1], large.split()[-1]) == ("yes", "no")
    assert "Recommended: step 0.5" in ran.out
    _, words = ran.out.strip().split("photon-gpu encode ")
    done = cli("encode", *words.replace("DST", "cells.zarr").split())
    assert done.code == 0, done.err
    assert pg.open(raw / "cells.zarr").step == 0.5


def test_json_is_the_whole_choice_and_the_picture_is_saved(cli, raw):
    ran = cli(
        "choose",
        "cells.npy",
        *QUICK,
        "--step",
        0.5,
        "--analysis",
        "my_lab:first",
        "--plot",
        "c.png",
        "--json",
    )
    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1)
    assert (ran.json["recommended_step"], ran.json["plot"]) == (0.5, "c.png")
    assert "first" in [change["name"] for change in ran.json["steps"][0]["changes"]]
    assert (raw / "c.png").read_bytes()[:4] == b"\x89PNG"


def test_no_harmless_step_is_exit_code_1(cli, raw):
    ran = cli("choose", "cells.npy", *QUICK, "--step", 0.5, "--analysis", "my_lab:levels")
    assert ran.code == 1
    assert "even 0.5 changes levels (ratio" in ran.out
    assert "--layout lossless" in ran.out
    assert "to encode with it" not in ran.out


def test_quiet_prints_nothing(cli, raw):
    assert cli("choose", "cells.npy", *QUICK, "--step", 0.5, "--quiet").out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.npy"], "no such file"),
        (["cells.npy", "--plot", "c.gif"], ".png, .svg, .pdf"),
        (["cells.npy", "--step", "x"], "is not a number"),
        (["cells.npy", "--redraws", "2"], "at least 4"),
        (["cells.npy", *GAIN, "--analysis", "gone:f"], "run in the folder of gone.py"),
        (["cells.npy", "--frames", "0:3"], "at least 8 frames"),
        (["cells.npy", *GAIN, "--frames", "0:20"], "--analysis module:function"),
        (["four.npy", *GAIN], "--channel and --plane"),
    ],
)
def test_bad_input_is_one_line_and_code_2(words, message, cli, raw):
    np.save(raw / "four.npy", detect(np.full((20, 2, 16, 16), 9.0), dtype="uint16"))
    ran = cli("choose", *words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert message in ran.err
    assert message in json.loads(cli("choose", *words, "--json").err)["error"]


def test_a_damaged_movie_is_exit_code_1(cli, raw):
    np.save(raw / "cut.npy", np.zeros((40, 32, 32), "uint16"))
    (raw / "cut.npy").write_bytes((raw / "cut.npy").read_bytes()[:5000])
    ran = cli("choose", "cut.npy", *GAIN)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
