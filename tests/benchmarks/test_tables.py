"""README and docs are made from the CSVs, all of them, by one command."""

from __future__ import annotations

import pytest

from benchmarks import compare, latency, petabyte, record, scaling, tables, workers

DOCS = ("s3", "sizes", "every", "latency", "workers", "scaling", "petabyte")


def row(columns, **known):
    """A row with something in every column."""
    return {name: 2.0 for name in columns if name not in ("date", "machine")} | known


@pytest.fixture
def root(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("before\n<!-- benchmarks -->\nold\n<!-- /benchmarks -->\nafter\n")
    places = "\n".join(f"<!-- {name} -->\nold\n<!-- /{name} -->" for name in DOCS)
    (tmp_path / "docs" / "scale.md").write_text(f"above\n{places}\nbelow\n")
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
    record.save(record.path_of("compare", folder), compare.COLUMNS, cases, "case")
    told = {"store": "disk", "layout": "plain", "preset": "fast", "shape": "4x5x6", "frame_median_ms": 7.25}
    record.save(record.path_of("latency", folder), latency.COLUMNS, [row(latency.COLUMNS, **told)], "store")
    shared = {"load": "disk", "stages": "write 9", "raw_bytes": 4e6}
    ran = [
        row(workers.COLUMNS, **shared, by=by, workers=n, speed_up=float(n))
        for by in ("bare", "dask")
        for n in (1, 2)
    ]
    record.save(record.path_of("workers", folder), workers.COLUMNS, ran, "load")
    grown = [
        row(scaling.COLUMNS, axis=axis, value=2**n, seconds=2.0**n, raw_bytes=2**n, frame_ms=3.0 * n)
        for axis in ("length", "chunk_frames", "cores")
        for n in (1, 2, 3)
    ]
    record.save(record.path_of("scaling", folder), scaling.COLUMNS, grown, "axis")
    requests = {"per_chunk": '{"PUT": 1}', "per_movie": '{"GET": 2}', "megabytes_per_second": 200.0}
    record.save(
        record.path_of("petabyte", folder), petabyte.COLUMNS, [row(petabyte.COLUMNS, **requests)], "ratio"
    )
    return folder


def test_what_was_measured_without_a_disk_is_told_of_ours_and_its_peer(root, results):
    tables.main(["--root", str(root), "--results", str(results)])
    assert "RAM disk" not in (root / "README.md").read_text()
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
    record.save(record.path_of("ram", results), compare.COLUMNS, rows, "case")
    tables.main(["--root", str(root), "--results", str(results)])
    (told,) = (line for line in (root / "README.md").read_text().splitlines() if "RAM disk" in line)
    assert (
        "photon_gpu compact, fast encodes 4,000 (2-2) and decodes 8,000 (2-2) MB/s, anscombe-transform 1 enc"
        in told
    )
    assert "step 1 encodes" not in told and "other encodes" not in told


def test_every_table_and_plot_is_made_and_made_again_the_same(root, results):
    tables.main(["--root", str(root), "--results", str(results)])
    readme, scale = (root / "README.md").read_text(), (root / "docs" / "scale.md").read_text()
    assert readme.startswith("before\n") and readme.endswith("after\n") and "old" not in readme + scale
    assert (
        "| **photon_gpu compact, fast** | 2.00 | 400 (2-2) |" in readme
        and "Not timed: broken (errs)." in scale
    )
    # The README has those of equal error and what a lab has without us; the docs have all.
    assert "| other |" not in readme and "| other | 2.00 | 8 (2-2) |" in scale
    assert "| other | 2.00 | 250.0 |" in scale, "s3"
    assert "| encode / decode, MB/s | 16 MB | 20 GB |" in scale
    assert "| disk, plain, fast | 2.00 | 7.2 (2.0-2.0) |" in scale
    assert "| disk, dask | 2 | 2 (2-2) | 2.00 | write 9 |" in scale
    assert "| length | 2, 4, 8 |" in scale and "time ** 1.00" in scale and "| 4 | 2 | 6.0 |" in scale
    assert "**200 MB/s per worker**" in scale
    for name in ("compare.png", "scaling.png"):
        assert (root / "docs" / name).stat().st_size > 5000
    tables.main(["--root", str(root), "--results", str(results)])
    assert ((root / "README.md").read_text(), (root / "docs" / "scale.md").read_text()) == (readme, scale)


def test_what_was_not_measured_is_left_as_it_is(root, results, capsys):
    for path in results.glob("[lw]*.csv"):
        path.unlink()
    tables.main(["--root", str(root), "--results", str(results)])
    scale = (root / "docs" / "scale.md").read_text()
    assert scale.count("\nold\n") == 2 and "latency: not measured" in capsys.readouterr().out
    for path in results.iterdir():
        path.unlink()
    with pytest.raises(SystemExit, match="no results"):
        tables.main(["--root", str(root), "--results", str(results)])


def test_pages_without_a_place_for_it_are_refused(root, results):
    (root / "README.md").write_text("no place")
    with pytest.raises(SystemExit, match="has no <!-- benchmarks -->"):
        tables.main(["--root", str(root), "--results", str(results)])
    with pytest.raises(SystemExit, match="has no case 'nothing'"):
        tables.main(["--case", "nothing", "--root", str(root), "--results", str(results)])


def test_the_pages_of_the_repository_have_their_places():
    for page, names in (("README.md", ("benchmarks",)), ("docs/scale.md", DOCS)):
        text = (tables.ROOT / page).read_text()
        for name in names:
            assert text.count(f"<!-- {name} -->\n") == text.count(f"\n<!-- /{name} -->") == 1, (page, name)
