"""One command writes the README's table and docs/measured/ from the stored results."""

from __future__ import annotations

import json
import shutil

import pytest

from benchmarks import compare, latency, petabyte, scaling, tables, workers
from benchmarks.support import results_csv

PAGES = ("comparison", "s3", "sizes", "latency", "workers", "scaling", "petabyte", "gpu")
"""Pages of docs/measured/ whose figures lie under benchmarks/results/."""


GPU = {
    "device": "some device",
    "cupy": "1.0",
    "kernels": [
        {"kernel": "checksum", "GB/s": 424.0, "share of copy": 0.13, "ms": 0.06},
        {"kernel": "slow", "GB/s": 0.076, "share of copy": 0.00002, "ms": 3774.4},
    ],
    "overlap": {"up GB/s": 55.0, "down GB/s": 55.0, "hidden share": 0.9},
    "end to end": [
        {
            "layout": "plain",
            "predictor": None,
            "frames in": "GPU, cupy",
            "encode GB/s": 1.25,
            "decode GB/s": 2.5,
        }
    ],
}


def row(columns, **known):
    """A row with something in every column."""
    return {name: 2.0 for name in columns if name not in ("date", "machine")} | known


@pytest.fixture
def root(tmp_path):
    (tmp_path / "README.md").write_text("before\n<!-- benchmarks -->\nold\n<!-- /benchmarks -->\nafter\n")
    return tmp_path


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    one = {"shape": "2x3x4", "dtype": "int16", "problem": "", "lossless": False, "runs": 3, "raw_bytes": 4e6}
    cases = [
        row(
            compare.COLUMNS, **one, case=case, contender=name, encode_median_s=seconds, s3_frame_median_s=0.25
        )
        for case in ("2p_cortex", "size-16", "size-20000")
        for name, seconds in (("photon_gpu compact, fast", 0.01), ("other", 0.5))
    ]
    cases.append(
        row(("case", "contender"), **{**one, "problem": "errs"}, case="2p_cortex", contender="broken")
    )
    results_csv.save(results_csv.path_of("compare", folder), compare.COLUMNS, cases, "case")
    told = {"store": "disk", "layout": "plain", "preset": "fast", "shape": "4x5x6", "frame_median_ms": 7.25}
    results_csv.save(
        results_csv.path_of("latency", folder), latency.COLUMNS, [row(latency.COLUMNS, **told)], "store"
    )
    shared = {"load": "disk", "stages": "write 9", "raw_bytes": 4e6}
    ran = [
        row(workers.COLUMNS, **shared, by=by, workers=n, speed_up=float(n))
        for by in ("bare", "dask")
        for n in (1, 2)
    ]
    results_csv.save(results_csv.path_of("workers", folder), workers.COLUMNS, ran, "load")
    grown = [
        row(scaling.COLUMNS, axis=axis, value=2**n, seconds=2.0**n, raw_bytes=2**n, frame_ms=3.0 * n)
        for axis in ("length", "chunk_frames", "cores")
        for n in (1, 2, 3)
    ]
    results_csv.save(results_csv.path_of("scaling", folder), scaling.COLUMNS, grown, "axis")
    requests = {"per_chunk": '{"PUT": 1}', "per_movie": '{"GET": 2}', "megabytes_per_second": 200.0}
    results_csv.save(
        results_csv.path_of("petabyte", folder),
        petabyte.COLUMNS,
        [row(petabyte.COLUMNS, **requests)],
        "ratio",
    )
    return folder


def test_what_was_measured_without_a_disk_is_told_of_ours_and_its_peer(root, results):
    tables.main(["--root", str(root), "--results", str(results)])
    assert "RAM disk" not in page(root, "comparison")
    one = {"shape": "2x3x4", "dtype": "int16", "problem": "", "lossless": False, "runs": 3, "raw_bytes": 4e6}
    names = (
        "photon_gpu compact, fast",
        "photon_gpu compact, fast, step 1",
        "anscombe-transform 1 (Zarr)",
        "other",
    )
    rows = [
        row(
            compare.COLUMNS,
            **one,
            case="2p_cortex",
            contender=name,
            encode_median_s=0.001,
            decode_median_s=0.0005,
        )
        for name in names
    ]
    results_csv.save(results_csv.path_of("ram", results), compare.COLUMNS, rows, "case")
    tables.main(["--root", str(root), "--results", str(results)])
    told = page(root, "comparison").replace("\n", " ")
    assert (
        "photon_gpu compact, fast encodes 4,000 (2-2) and decodes 8,000 (2-2) MB/s, anscombe-transform 1 (Z"
        in told
    )
    assert "step 1 encodes" not in told and "other encodes" not in told


def page(root, name):
    return (root / "docs" / "measured" / f"{name}.md").read_text()


def test_every_table_and_plot_is_made_and_made_again_the_same(root, results):
    (results / "gpu_some-device_2026-01-02.json").write_text(json.dumps(GPU))
    tables.main(["--root", str(root), "--results", str(results)])
    readme, pages = (root / "README.md").read_text(), {name: page(root, name) for name in PAGES}
    assert readme.startswith("before\n") and readme.endswith("after\n") and "old" not in readme
    assert "| **photon_gpu compact, fast** | 2.00 | 400 | 2 | 2.0 % |" in readme
    assert "| **photon_gpu compact, fast** | 2.00 | 400 (2-2) |" in pages["comparison"]
    assert "Not timed: broken (errs)." in pages["comparison"]
    # The README names ours and at most eight others; the docs name all.
    assert "| other |" not in readme and "| other | 2.00 | 8 (2-2) |" in pages["comparison"]
    assert "| other | 2.00 | 250.0 |" in pages["s3"]
    assert "| encode / decode, MB/s | 16 MB | 20 GB |" in pages["sizes"]
    assert "| disk, plain, fast | 2.00 | 7.2 (2.0-2.0) |" in pages["latency"]
    assert "| disk, dask | 2 | 2 (2-2) | 2.00 | write 9 |" in pages["workers"]
    assert "| length | 2, 4, 8 |" in pages["scaling"] and "time ** 1.00" in pages["scaling"]
    assert "| 4 | 2 | 6.0 |" in pages["scaling"] and "**200 MB/s per worker**" in pages["petabyte"].replace(
        "\n", " "
    )
    assert (
        "| checksum | 424 | 13 % | 0.06 |" in pages["gpu"] and "| slow | 0.076 | under 1 % |" in pages["gpu"]
    )
    assert "| plain | GPU, cupy | 1.25 | 2.50 |" in pages["gpu"]
    assert all("Written by `python -m benchmarks.tables`" in text for text in pages.values())
    for name in ("compare.png", "scaling.png"):
        assert (root / "docs" / "measured" / name).stat().st_size > 5000
    tables.main(["--root", str(root), "--results", str(results)])
    assert ((root / "README.md").read_text(), {name: page(root, name) for name in PAGES}) == (readme, pages)


def test_pages_without_results_stay_as_they_are(root, results, capsys):
    tables.main(["--root", str(root), "--results", str(results)])
    for path in results.glob("[lw]*.csv"):
        path.unlink()
    for name in ("latency", "workers"):
        (root / "docs" / "measured" / f"{name}.md").write_text("old")
    tables.main(["--root", str(root), "--results", str(results)])
    assert page(root, "latency") == page(root, "workers") == "old"
    assert "latency: no results" in capsys.readouterr().out
    for path in results.iterdir():
        path.unlink()
    with pytest.raises(SystemExit, match="no results"):
        tables.main(["--root", str(root), "--results", str(results)])


def test_a_readme_without_a_place_for_the_table_is_refused(root, results):
    (root / "README.md").write_text("no place")
    with pytest.raises(SystemExit, match="has no <!-- benchmarks -->"):
        tables.main(["--root", str(root), "--results", str(results)])
    with pytest.raises(SystemExit, match="has no case 'nothing'"):
        tables.main(["--case", "nothing", "--root", str(root), "--results", str(results)])


def test_the_readme_has_at_most_eight_others():
    others = {label for name, label in tables.BRIEF.items() if not name.startswith("photon_gpu")}
    assert len(others) <= 8


def test_experiments_made_once_are_a_page_too(root, results):
    made_once = {
        "machine": "some machine",
        "date": "May 2026",
        "sections": [
            {"title": "One", "parts": ["Text.", {"columns": ["", "a"], "rows": [["x", "1"], ["y", ""]]}]}
        ],
    }
    (results / "experiments_some-machine_2026-05.json").write_text(json.dumps(made_once))
    tables.main(["--root", str(root), "--results", str(results)])
    text = page(root, "experiments")
    assert (
        "from `benchmarks/results/experiments_some-machine_2026-05.json`.\n\nsome machine, May 2026." in text
    )
    assert "## One\n\nText.\n\n| | a |\n|---|---|\n| x | 1 |\n| y | |\n" in text


def test_the_pages_of_the_repository_are_those_of_the_stored_results(tmp_path):
    """Whoever changes a table by hand, or stores results without the pages, sees it here."""
    shutil.copytree(tables.ROOT / "docs" / "measured", tmp_path / "docs" / "measured")
    shutil.copy(tables.ROOT / "README.md", tmp_path)
    tables.main(["--root", str(tmp_path)])
    for path in sorted(tmp_path.rglob("*.md")):
        assert path.read_text() == (tables.ROOT / path.relative_to(tmp_path)).read_text(), path.name
