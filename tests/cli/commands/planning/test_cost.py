"""``photon-gpu cost``, as typed."""

from __future__ import annotations

import json

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.cli.app import app

COUNTS = np.random.default_rng(0).poisson(40.0, (120, 32, 32)).astype("uint16")


@pytest.fixture
def typed(capsys):
    def run(*arguments):
        import typer

        with pytest.raises(SystemExit) as left:
            typer.main.get_command(app)(["cost", *map(str, arguments)])
        printed = capsys.readouterr()
        return left.value.code, printed.out, printed.err

    return run


def test_the_documented_table_of_costs_is_printed(typed):
    code, out, _ = typed("--shape", "1000x512x512", "--movies", 1000, "--units", "documented")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert rows[1][:6] == ["raw", "500", "MB", "500", "GB", "$11.50"]
    assert rows[2][:6] == ["stored", "125", "MB", "125", "GB", "$2.88"]
    assert rows[3][:7] == ["saved", "(75%)", "375", "MB", "375", "GB", "$8.62"]


def test_the_size_of_a_stored_movie_is_measured(typed, tmp_path):
    report = pg.encode(COUNTS, tmp_path / "m.zarr", noise=pg.NoiseModel())
    code, out, _ = typed(tmp_path / "m.zarr", "--json")
    assert code == 0
    assert json.loads(out)["movie_mb"]["stored"] == report.stored_bytes / 2**20


def test_a_file_is_tried(typed, tmp_path):
    np.save(tmp_path / "raw.npy", COUNTS)
    code, out, _ = typed(tmp_path / "raw.npy", "--layout", "compact", "--step", "1", "--gain", "1", "--json")
    assert code == 0
    assert json.loads(out)["measured"] == f"frames 10 to 109 of {tmp_path / 'raw.npy'}"


def test_prices_of_your_own(typed, tmp_path):
    (tmp_path / "p.json").write_text('{"TAPE": 0.001}')
    code, out, _ = typed("--shape", "10x512x512", "--prices", tmp_path / "p.json")
    assert code == 0
    assert "TAPE/month" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "either a MOVIE or --shape"),
        (("--shape", "1000xwide"), "'wide' is not a whole number"),
        (("--shape", "10x2x2", "--savings", "1"), "a share below 1"),
        (("--shape", "10x2x2", "--units", "GiB"), "allowed: 'binary'"),
        (("nothing.tif",), "nothing.tif"),
    ],
)
def test_impossible_arguments_are_refused_with_code_2(typed, arguments, says):
    code, _, err = typed(*arguments)
    assert code == 2
    assert says in err
