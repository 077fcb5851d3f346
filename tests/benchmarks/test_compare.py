"""The comparison runs, refuses who errs, and its CSV becomes the README's table and plot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import compare
from benchmarks.contenders import every_contender
from benchmarks.contenders.zstd import Zstandard
from benchmarks.support import results_csv
from benchmarks.support.generated_movie import Made
from benchmarks.support.s3_folder import Bucket
from tests.support import servers


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return compare.main(
        ["--minutes", "0", "--cases", "size-3,size-6", "--contenders", "Zarr, raw", "--results", str(folder)]
    )


def test_every_case_and_contender_has_a_row(written):
    rows = results_csv.load(written)
    assert [row["case"] for row in rows] == ["size-3"] * (len(rows) // 2) + ["size-6"] * (len(rows) // 2)
    assert {row["contender"] for row in rows} == {
        one.name for one in compare.every_contender() if "Zarr, raw" in one.name
    }
    for row in rows:
        assert not row["problem"] and row["machine"] and int(row["runs"]) >= 1
        assert float(row["ratio"]) == pytest.approx(
            float(row["raw_bytes"]) / float(row["stored_bytes"]), rel=1e-4
        )
        for action in compare.LOCAL:
            low, median, high = (float(row[f"{action}_{what}_s"]) for what in ("min", "median", "max"))
            assert 0 < low <= median <= high


@pytest.mark.skipif(not Path(compare.RAM).is_dir(), reason="no RAM disk here")
def test_results_without_a_disk_are_kept_apart(tmp_path, monkeypatch):
    seen, measure = [], compare.measure

    def watched(case, contenders, seconds, folder, *others):
        seen.append(folder)
        return measure(case, contenders, seconds, folder, *others)

    monkeypatch.setattr(compare, "measure", watched)
    options = ["--minutes", "0", "--cases", "size-1", "--contenders", "zstd 3", "--results", str(tmp_path)]
    assert compare.main([*options, "--ram"]).name.startswith("ram_")
    assert compare.main(options).name.startswith("compare_")
    assert [folder.is_relative_to(compare.RAM) for folder in seen] == [True, False]


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


def test_movies_larger_than_memory_are_made_as_they_are_read(tmp_path):
    whole, made = compare.sized(120), compare.sized(120, in_memory=False)
    assert isinstance(made.values, Made) and made.values.shape == whole.values.shape
    np.testing.assert_array_equal(made.values[90:210], whole.values[90:210])
    small = compare.Case("made", Made(whole.values[:20, :64, :64], 450, "made"), whole.noise)
    rows = compare.measure(small, every_contender(), 0.0, tmp_path, limit=1e9)
    told = {row["contender"]: row["problem"] for row in rows if row["problem"]}
    assert {name for name in told if "not installed" not in told[name]} == {
        one.name for one in every_contender() if not one.streams and one.missing() is None
    }
    assert all(
        row["worst_error_sigma"] <= 2.5 and row["decode_median_s"] > 0 for row in rows if not row["problem"]
    )


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    pytest.importorskip("s3fs", reason="pip install 'photon-gpu[s3]'")
    with servers.seaweed(tmp_path_factory.mktemp("weed")) as endpoint:
        yield Bucket(endpoint, "imaging/compare")


def test_every_contender_that_reads_from_s3_gives_there_what_it_gives_here(tmp_path, bucket):
    case = compare.Case("s3", compare.sized(1).values[:, :64, :64], compare.sized(1).noise)
    contenders = [one for one in every_contender() if one.remote and one.missing() is None]
    assert {"tensorstore", "photon_gpu", "Zarr", "zstd"} <= {
        one.name.split()[0].rstrip(",") for one in contenders
    }
    for row in compare.measure(case, contenders, 0.0, tmp_path, limit=1e9, bucket=bucket):
        assert row["problem"] == "" and row["s3_frame_median_s"] > 0 and row["s3_trace_median_s"] > 0, row
    bucket.fs.invalidate_cache()
    assert not [path for path in bucket.fs.find(bucket.root) if path != bucket.root]


def test_who_gives_something_else_over_s3_is_not_timed(tmp_path, bucket):
    class Forgetful(Zstandard):
        name = "forgetful"

        def frame(self, folder, number):
            return super().frame(folder, number) * (not isinstance(folder, Bucket))

    (row,) = compare.measure(compare.sized(1), [Forgetful()], 0.0, tmp_path, bucket=bucket)
    assert row["problem"].startswith("AssertionError") and "s3_frame_median_s" not in row
