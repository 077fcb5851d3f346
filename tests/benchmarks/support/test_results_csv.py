"""Results of a day are gathered in one file, case by case."""

from __future__ import annotations

from benchmarks.support import results_csv

COLUMNS = ("date", "machine", "case", "seconds")


def test_a_case_that_is_measured_again_replaces_its_rows_and_no_others(tmp_path):
    path = results_csv.path_of("compare", tmp_path)
    results_csv.save(path, COLUMNS, [{"case": "a", "seconds": 1.0}, {"case": "b", "seconds": 2.0}], "case")
    results_csv.save(path, COLUMNS, [{"case": "b", "seconds": 1 / 3}], "case")
    rows = results_csv.load(path)
    assert [(row["case"], row["seconds"]) for row in rows] == [("a", "1"), ("b", "0.333333")]
    assert all(row["date"] == path.stem[-10:] and row["machine"] for row in rows)


def test_the_newest_is_of_the_last_day(tmp_path):
    for name in ("compare_z_2026-01-02.csv", "compare_a_2026-02-01.csv", "scaling_a_2027-01-01.csv"):
        (tmp_path / name).touch()
    assert results_csv.newest("compare", tmp_path).name == "compare_a_2026-02-01.csv"
    assert results_csv.newest("nothing", tmp_path) is None


def test_a_case_that_was_not_measured_again_keeps_its_rows_of_another_day(tmp_path):
    machine = ("date", "machine", "case", "seconds", "s3")
    older = [{"case": "a", "seconds": 1.0, "s3": 5}, {"case": "b", "seconds": 2.0, "s3": ""}]
    results_csv.save(tmp_path / "compare_x_2026-01-02.csv", machine, older, "case")
    results_csv.save(
        tmp_path / "compare_x_2026-01-03.csv", machine, [{"case": "a", "seconds": 3.0, "s3": ""}], "case"
    )
    results_csv.save(
        tmp_path / "compare_other_2026-01-01.csv", machine, [{"case": "c", "seconds": 4.0, "s3": 5}], "case"
    )
    result = results_csv.gathered("compare", "case", tmp_path)
    assert [(row["case"], row["seconds"]) for row in result] == [("a", "3"), ("b", "2")]
    result = results_csv.gathered("compare", "case", tmp_path, having="s3")
    assert [(row["case"], row["seconds"]) for row in result] == [("a", "1")]
    assert results_csv.gathered("nothing", "case", tmp_path) == []
