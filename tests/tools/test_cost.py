"""The documented table comes out of the documented numbers, to the cent."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError
from photon_gpu.tools.cost import Cost, from_movie, from_shape, from_source, load_prices


def test_the_documented_table_from_the_documented_shape():
    table = from_shape((1000, 512, 512), "uint16", savings=0.75, movies=1000, units="documented").to_dict()
    assert table["movie_mb"] == {"raw": 500, "stored": 125, "saved": 375}
    assert table["total_gb"] == {"raw": 500, "stored": 125, "saved": 375}
    assert table["savings"] == 0.75
    assert table["monthly"]["STANDARD"] == {"raw": "11.50", "stored": "2.88", "saved": "8.62"}


def test_prices_of_the_documented_classes_are_dated():
    classes = load_prices()
    assert {name: classes[name]["price"] for name in ("STANDARD", "STANDARD_IA", "GLACIER")} == {
        "STANDARD": 0.023,
        "STANDARD_IA": 0.0125,
        "GLACIER": 0.004,
    }
    assert all({"date", "source"} <= set(entry) for entry in classes.values())


@pytest.mark.parametrize(
    ("units", "raw"), [("binary", "11.23"), ("decimal", "12.06"), ("documented", "11.50")]
)
def test_what_a_gb_is_matters(units, raw):
    table = from_shape((1000, 512, 512), movies=1000, units=units).to_dict()
    assert table["monthly"]["STANDARD"]["raw"] == raw


def test_prices_of_your_own(tmp_path):
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"NEARLINE": 0.01}))
    cost = Cost(raw_bytes=2**30, stored_bytes=2**29, movies=300, prices=load_prices(path))
    assert cost.to_dict()["monthly"] == {"NEARLINE": {"raw": "3.00", "stored": "1.50", "saved": "1.50"}}
    assert "NEARLINE/month" in cost.text()


@pytest.mark.parametrize("nbytes", [1, 24_000_000, 10**17])
def test_columns_never_run_together(nbytes):
    for line in Cost(raw_bytes=nbytes, stored_bytes=nbytes / 4).text().splitlines()[1:]:
        assert len(re.findall(r" [MG]iB ", line)) == 2


def test_storing_more_is_a_negative_saving():
    cost = Cost(raw_bytes=100, stored_bytes=330)
    assert cost.savings == pytest.approx(-2.3)
    assert cost.monthly("STANDARD")["saved"] < 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"raw_bytes": 0, "stored_bytes": 1}, "above 0"),
        ({"raw_bytes": 1, "stored_bytes": 1, "movies": 0}, "at least 1"),
        ({"raw_bytes": 1, "stored_bytes": 1, "units": "GiB"}, "allowed: 'binary'"),
        ({"raw_bytes": 1, "stored_bytes": 1, "prices": {"X": "free"}}, "no price for 'X'"),
        ({"raw_bytes": 1, "stored_bytes": 1, "prices": {"X": -1}}, "0 or more"),
    ],
)
def test_impossible_costs_are_refused(options, says):
    with pytest.raises(InvalidInputError, match=says):
        Cost(**options)


def test_savings_of_everything_are_refused():
    with pytest.raises(InvalidInputError, match="below 1"):
        from_shape((1, 2, 2), savings=1.0)


def test_a_broken_price_list(tmp_path):
    (tmp_path / "p.json").write_text("[]")
    with pytest.raises(InvalidInputError, match="not a price list"):
        load_prices(tmp_path / "p.json")


COUNTS = np.random.default_rng(0).poisson(40.0, (250, 32, 32)).astype("uint16")


def test_from_a_stored_movie(tmp_path):
    report = pg.encode(COUNTS, tmp_path / "m.zarr", noise=pg.NoiseModel())
    cost = from_movie(tmp_path / "m.zarr", movies=7)
    assert cost.raw_bytes == COUNTS.nbytes
    assert cost.stored_bytes == report.stored_bytes
    assert cost.to_dict()["measured"] == str(tmp_path / "m.zarr")
    assert from_movie(pg.open(tmp_path / "m.zarr"), movies=7) == cost


@pytest.mark.parametrize("layout", ["plain", "compact"])
def test_a_sample_foretells_the_movie(tmp_path, layout):
    cost = from_source(COUNTS, frames=100, encode_options={"layout": layout, "noise": pg.NoiseModel()})
    report = pg.encode(COUNTS, tmp_path / "m.zarr", layout=layout, noise=pg.NoiseModel())
    assert cost.raw_bytes == COUNTS.nbytes
    assert cost.stored_bytes == pytest.approx(report.stored_bytes, rel=0.1)
    assert cost.measured == "frames 75 to 174 of array"


def test_a_sample_longer_than_the_movie():
    assert (
        from_source(COUNTS[:1], frames=100, encode_options={"noise": pg.NoiseModel()}).raw_bytes
        == COUNTS[:1].nbytes
    )
    with pytest.raises(InvalidInputError, match="at least 1"):
        from_source(COUNTS, frames=0)
