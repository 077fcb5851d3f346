"""``photon-gpu profile``, as typed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from photon_gpu.cli.app import app

COUNTS = np.random.default_rng(0).poisson(40.0, (20, 32, 32)).astype("uint16")


@pytest.fixture
def typed(capsys):
    def run(*arguments):
        import typer

        with pytest.raises(SystemExit) as left:
            typer.main.get_command(app)(["profile", *map(str, arguments)])
        printed = capsys.readouterr()
        return left.value.code, printed.out, printed.err

    return run


def test_a_movie_of_the_users_own(typed, tmp_path):
    np.save(tmp_path / "m.npy", COUNTS)
    code, out, _ = typed(
        tmp_path / "m.npy",
        "--seconds",
        "0.1",
        "--layout",
        "compact",
        "--preset",
        "fast",
        "--cores",
        1,
        "--gain",
        1,
        "--camera",
        "32x32x100",
        "--plot",
        tmp_path / "p.png",
        "--json",
    )
    assert code == 0
    result = json.loads(out)
    assert [(m["layout"], m["preset"], m["cores"]) for m in result["measured"]] == [("compact", "fast", 1)]
    assert result["frame_shape"] == [32, 32] and result["camera"]["advice"].startswith(
        "your camera: 32 x 32 x 100 Hz"
    )
    assert (tmp_path / "p.png").exists()


def test_the_table_names_ceilings_and_the_fastest_choice(typed):
    code, out, _ = typed(
        "--seconds", "0.1", "--layout", "plain", "--preset", "fast", "--cores", 1, "--camera", "64x64x5"
    )
    assert code == 0 and "ceilings, MB/s: memcpy" in out and "fastest: plain, fast" in out
    assert "simulated" in out and "held back by" in out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--camera", "512"], "HEIGHTxWIDTHxRATE"),
        (["--seconds", "soon"], "not a number"),
        (["absent.tif"], "no such file"),
        (["--layout", "tight"], "tight"),
    ],
)
def test_bad_input_is_refused_with_code_2(typed, arguments, message):
    code, _, err = typed(*arguments)
    assert code == 2 and message in err
