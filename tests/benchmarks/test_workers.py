"""The command that looks for what a second worker is good for runs, and says it."""

from __future__ import annotations

import pytest

from benchmarks import workers
from benchmarks.support import results_csv

pytest.importorskip("distributed", reason="pip install 'photon-gpu[dask]'")


def test_every_load_is_measured_by_every_way(tmp_path):
    target = workers.main(
        [
            "--rounds",
            "1",
            "--movies",
            "2",
            "--frames",
            "20",
            "--size",
            "32",
            "--results",
            str(tmp_path),
            "--folder",
            str(tmp_path),
        ]
    )
    rows = results_csv.load(target)
    loads = list(dict.fromkeys(row["load"] for row in rows))
    assert loads in (["disk", "memory", "compute alone"], ["disk", "compute alone"])
    assert [row["by"] for row in rows if row["load"] == "disk"] == ["bare", "dask", "bare", "dask"]
    for row in rows:
        assert float(row["seconds"]) > 0 and int(row["raw_bytes"]) == 2 * 20 * 32 * 32 * 2
        assert ("compress" in row["stages"]) == (row["by"] == "dask")
    for by in ("bare", "dask"):
        one, two = (row for row in rows if row["load"] == "disk" and row["by"] == by)
        assert float(one["speed_up"]) == 1
        assert float(two["speed_up"]) == pytest.approx(
            float(one["seconds"]) / float(two["seconds"]), rel=1e-3
        )


def test_what_is_said_holds_dask_against_bare_processes():
    def row(by, workers_, mb_s, speed_up):
        return {
            "load": "disk",
            "by": by,
            "workers": workers_,
            "mb_s": mb_s,
            "speed_up": speed_up,
            "stages": "x 1",
        }

    (text,) = workers.findings([row("bare", 1, 100, 1.0), row("bare", 2, 160, 1.6), row("dask", 2, 144, 1.5)])
    assert "2 bare 1.60 times one, 2 dask 1.50 times one: dask does 90 %" in text
