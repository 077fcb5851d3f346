"""The command that measures each kind of file runs, and compares chunks along time with chunks by frames."""

from __future__ import annotations

from benchmarks import source_formats, tables
from benchmarks.support import results_csv


def test_every_kind_is_measured_and_has_a_line_in_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(source_formats, "in_a_process", lambda path: source_formats.encode(str(path)))
    target = source_formats.main(
        [
            *("--rounds", "1", "--frames", "40", "--size", "48", "--files", "30", "--page", "32"),
            *("--results", str(tmp_path), "--folder", str(tmp_path)),
        ]
    )
    rows = results_csv.load(target)
    assert [row["kind"] for row in rows] == [
        "TIFF",
        "BigTIFF",
        "HDF5, by frames",
        "HDF5, along time",
        "Zarr, by frames",
        "Zarr, along time",
        "single-page TIFFs",
    ]
    by_source = {row["kind"]: row for row in rows}
    along, by_frames = by_source["Zarr, along time"], by_source["Zarr, by frames"]
    expected = float(along["seconds"]) / float(by_frames["seconds"])
    assert abs(float(along["ratio"]) / expected - 1) < 1e-3
    page = tables.kinds_of_files(rows)
    assert "| 30 single-page TIFFs |" in page
    assert "of processor time (bar: 500)" in page and "of Zarr, by frames |" in page
