"""``photon-gpu estimate``: verdicts, exit codes, pictures, JSON."""

import json

import numpy as np
import pytest

from photon_gpu.estimate import NoiseEstimate
from tests.support.noise.detector_models import detect, still


@pytest.fixture
def raw(tmp_path):
    np.save(tmp_path / "raw.npy", detect(still()))
    np.save(tmp_path / "dark.npy", detect(np.zeros((40, 64, 64)), seed=9))
    np.save(tmp_path / "lit.npy", detect(still(low=9, high=9)))
    return tmp_path


def test_a_raw_movie_passes_and_is_told_how_to_go_on(cli, raw):
    ran = cli("estimate", "raw.npy")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("PASS: noise of raw.npy")
    assert "cannot be separated" in ran.out
    _, words = ran.out.split("photon-gpu ")
    done = cli(*words.split()[:2], "raw.zarr", *words.split()[3:])
    assert done.code == 0, done.err


def test_json_is_the_whole_estimate(cli, raw):
    ran = cli("estimate", "raw.npy", "--json", "--plot", "c.svg")
    told = ran.json
    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1)
    assert (told.pop("plot"), told.pop("notes"), told.pop("layout")) == ("c.svg", [], "plain")
    result = NoiseEstimate.from_dict(told)
    assert result.model.gain == pytest.approx(8, rel=0.02)
    assert result.diagnostics.curve.level
    assert (raw / "c.svg").read_text().startswith("<?xml")


def test_a_dark_recording_tells_offset_from_read_noise(cli, raw):
    ran = cli("estimate", "raw.npy", "--dark", "dark.npy")
    assert ran.code == 0
    assert "(from dark recording)" in ran.out
    assert "--variance" in ran.out
    missing = cli("estimate", "raw.npy", "--dark", "none.npy")
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    assert "none.npy" in missing.err


def test_a_refusal_is_a_failure_that_says_what_to_do(cli, raw):
    ran = cli("estimate", "lit.npy", "--plot", "c.png")
    assert ran.code == 1
    assert ran.out.startswith("REFUSE")
    assert "store it with --layout lossless" in ran.out
    assert "noise=" not in ran.out
    assert (raw / "c.png").read_bytes()[:4] == b"\x89PNG"
    assert cli("estimate", "lit.npy", "--json").json["verdict"] == "REFUSE"


def test_nothing_measured_is_not_drawn(cli, raw):
    np.save(raw / "short.npy", detect(still(frames=3)))
    ran = cli("estimate", "short.npy", "--plot", "c.png")
    assert (ran.code, (raw / "c.png").exists()) == (1, False)
    assert "c.png was not drawn" in ran.out


def test_pairs_and_seed_reach_the_estimate(cli, raw):
    slides = detect(np.broadcast_to(np.array([0, 5, 20, 60, 120.0])[:, None, None], (5, 96, 128)))
    np.save(raw / "slides.npy", slides)
    ran = cli("estimate", "slides.npy", "--pairs", "space", "--json")
    assert ran.json["model"]["gain"] == pytest.approx(8, rel=0.05)
    assert cli("estimate", "slides.npy").code == 1
    np.save(raw / "long.npy", np.tile(detect(still(size=256, frames=60), dtype="int16"), (10, 1, 1)))
    words = ["estimate", "long.npy", "--json", "--seed"]  # longer than the sample, so the seed decides
    assert cli(*words, 1).json["model"] == cli(*words, 1).json["model"] != cli(*words, 2).json["model"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["raw.npy", "--pairs", "both"], "allowed are time, space"),
        (["raw.npy", "--plot", "c.gif"], ".png, .svg, .pdf"),
        (["raw.npy", "--seed", "x"], "not a whole number"),
        (["none.npy"], "no such file"),
    ],
)
def test_bad_input_is_one_line_and_code_2(words, message, cli, raw):
    ran = cli("estimate", *words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert message in ran.err
    assert message in json.loads(cli("estimate", *words, "--json").err)["error"]
