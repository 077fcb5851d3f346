"""The comparison runs, refuses who errs, and its CSV becomes the README's table and plot."""

from __future__ import annotations

import pytest

from benchmarks import compare, tables
from benchmarks.contenders.zstd import Zstandard


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return compare.main(
        ["--minutes", "0", "--cases", "size-3,size-6", "--contenders", "zstd 1", "--results", str(folder)]
    )


def test_every_case_and_contender_has_a_row(written):
    rows = tables.load(written)
    assert [row["case"] for row in rows] == ["size-3"] * (len(rows) // 2) + ["size-6"] * (len(rows) // 2)
    assert {row["contender"] for row in rows} == {
        one.name for one in compare.every_contender() if "zstd 1" in one.name
    }
    for row in rows:
        assert not row["problem"] and row["machine"] and int(row["runs"]) >= 1
        assert float(row["ratio"]) == pytest.approx(
            float(row["raw_bytes"]) / float(row["stored_bytes"]), rel=1e-4
        )
        for action in compare.ACTIONS:
            low, median, high = (float(row[f"{action}_{what}_s"]) for what in ("min", "median", "max"))
            assert 0 < low <= median <= high


def test_who_errs_is_listed_and_not_timed(tmp_path):
    class Careless(Zstandard):
        name = "careless"

        def unpack(self, *arguments):
            out = super().unpack(*arguments).copy()
            out[0, 0, 0] += 1
            return out

    (row,) = compare.measure(compare.sized(1), [Careless()], 0.0, tmp_path)
    assert row["problem"].startswith("AssertionError") and "encode_median_s" not in row
    assert not list(tmp_path.iterdir())


def test_chunks_of_a_size_case_differ():
    values = compare.sized(110).values
    assert values.shape == (210, 512, 512) and (values[0] != values[100]).mean() > 0.5


def test_the_readme_and_the_plot_are_made_from_the_csv(written, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- benchmarks -->\nold\n<!-- /benchmarks -->\nafter\n")
    arguments = [str(written), "--case", "size-6", "--readme", str(readme), "--plot", str(tmp_path / "p.png")]
    tables.main(arguments)
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    row = next(
        row
        for row in tables.load(written)
        if row["case"] == "size-6" and row["contender"] == "zstd 1 of our codes"
    )
    assert f"| zstd 1 of our codes | {float(row['ratio']):.2f} | {tables.rate(row, 'encode')} |" in text
    assert (tmp_path / "p.png").stat().st_size > 5000
    tables.main(arguments)
    assert readme.read_text() == text
    readme.write_text("no place")
    with pytest.raises(SystemExit, match="has no <!-- benchmarks -->"):
        tables.main(arguments)


def test_the_readme_of_the_repository_has_a_place_for_it():
    text = (tables.ROOT / "README.md").read_text()
    assert text.count("<!-- benchmarks -->\n") == text.count("\n<!-- /benchmarks -->") == 1
