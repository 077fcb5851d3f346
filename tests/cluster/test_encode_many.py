"""Many movies over a cluster: the same bytes as one machine, whoever dies."""

from __future__ import annotations

import json
import os
import warnings

import dask.array as da
import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.cluster.encode_many import encode_many
from photon_gpu.errors import BatchError, InvalidInputError, StoreExistsError
from photon_gpu.store import manifest
from tests.support import servers
from tests.support.cluster_settings import NOISE, SETTINGS, stored
from tests.support.faults.killing_sources import Deadly
from tests.support.noise.camera_model_movies import of
from tests.support.noise.detector_models import resolved_photons


@pytest.mark.parametrize("on", ["cluster", "machine"])
def test_without_a_model_each_is_estimated_and_a_stated_one_is_held_against_each(client, tmp_path, on):
    kept, right = of("CCD", frames=60)
    client = client if on == "cluster" else None
    report = encode_many([kept], [tmp_path / "m.zarr"], client=client, layout="compact")
    movie = pg.open(tmp_path / "m.zarr")
    assert movie.noise == pg.estimate_noise(kept).model
    assert movie.attrs["noise_estimate"]["verdict"] == "PASS"
    assert any("estimated from the movie" in note for note in report.reports[0].notes)
    with pytest.raises(BatchError, match="NoiseContradictionError.*trust_noise=True"):
        encode_many([kept], [tmp_path / "n.zarr"], client=client, noise=pg.NoiseModel())
    assert not (tmp_path / "n.zarr").exists() or not list((tmp_path / "n.zarr").iterdir())
    wide = pg.NoiseModel(gain=3.3 * right.gain, offset=right.offset, variance=3.3 * right.variance)
    with pytest.warns(pg.PhotonWarning, match="contradict it"):
        encode_many([kept], [tmp_path / "w.zarr"], client=client, noise=[wide], check=False)
    encode_many(
        [kept], [tmp_path / "t.zarr"], client=client, noise=pg.NoiseModel(), trust_noise=True, check=False
    )
    assert pg.open(tmp_path / "t.zarr").noise == pg.NoiseModel()


def test_every_kind_of_source_is_stored_as_one_machine_stores_it(
    client, counts, on_disk, one_machine, tmp_path
):
    import h5py

    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["movie"] = counts
    with h5py.File(tmp_path / "m.h5", "r") as file:
        sources = {
            "path": on_disk,
            "inside of a path": f"{tmp_path / 'm.h5'}::/movie",
            "array": counts,
            "open file": file["movie"],
            "dask, aligned": da.from_array(counts, chunks=(20, 40, 48)),
            "dask, a few chunks": da.from_array(counts, chunks=(60, 40, 48)),
            "dask, misaligned": da.from_array(counts, chunks=(33, 20, 48)),
        }
        urls = [tmp_path / f"{n}.zarr" for n in range(len(sources))]
        report = encode_many(list(sources.values()), urls, client=client, **SETTINGS)
    for (name, _), url, one in zip(sources.items(), urls, report.reports, strict=True):
        assert stored(url) == one_machine, name
        assert one.url == str(url) and one.raw_bytes == counts.nbytes
        assert one.stored_bytes == sum(map(len, one_machine.values()))
        assert {"read", "transform", "compress", "write"} - {"read"} <= set(one.stages)
    notes = dict(zip(sources, (one.notes for one in report.reports), strict=True))
    assert notes["path"] == notes["dask, aligned"] == notes["inside of a path"] == ()
    assert "sent to the workers" in notes["array"][0]
    assert notes["dask, a few chunks"] == ()
    assert notes["dask, misaligned"] == (
        "14 of 14 dask blocks are not aligned with chunks of 20 whole frames: they were rechunked",
    )


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
@pytest.mark.parametrize("dither", [None, 7])
def test_layouts_and_dither_are_the_same_to_the_byte(client, on_disk, tmp_path, layout, dither):
    settings = {**SETTINGS, "layout": layout, "dither": dither, "attributes": {"animal": 7}}
    pg.encode(on_disk, tmp_path / "one.zarr", **settings)
    encode_many([on_disk], [tmp_path / "many.zarr"], client=client, check=True, **settings)
    assert stored(tmp_path / "many.zarr") == stored(tmp_path / "one.zarr")


def test_a_worker_killed_midway_costs_its_chunk_and_nothing_else(
    client, counts, on_disk, one_machine, tmp_path
):
    deadly = Deadly(tmp_path, on_disk, killer=85)
    ticks = []
    report = encode_many(
        [deadly],
        [tmp_path / "m.zarr"],
        client=client,
        progress=lambda url, done, total: ticks.append((done, total)),
        **SETTINGS,
    )
    assert (tmp_path / "killed").exists(), "nobody was killed: this test shows nothing"
    assert stored(tmp_path / "m.zarr") == one_machine
    assert deadly.reads(20) == list(range(0, 200, 20))  # the dead worker's own read was never finished
    assert report.lost_workers == 1 and "1 workers were lost during the encode" in str(report)
    assert [done for done, _ in ticks] == sorted({done for done, _ in ticks})
    assert ticks[0] == (0, 210) and ticks[-1] == (210, 210)


def test_dask_is_left_as_it_was_however_movies_overlap(client, on_disk, one_machine, tmp_path):
    """dask's own as_current() changes the whole process's settings, and threads do not leave it in order."""
    import dask

    slow = Deadly(tmp_path, on_disk, killer=85)  # begun second, done last
    with dask.config.set(scheduler="threads"):
        encode_many(
            [on_disk, slow], [tmp_path / "a.zarr", tmp_path / "b.zarr"], client=client, at_once=2, **SETTINGS
        )
        assert dask.config.get("scheduler") == "threads"
    assert stored(tmp_path / "a.zarr") == stored(tmp_path / "b.zarr") == one_machine


def test_a_worker_killed_while_dask_computes_costs_only_what_it_held(client, counts, one_machine, tmp_path):
    def deadly_block(block_info=None):
        (start, stop), *_ = block_info[None]["array-location"]
        if start == 100:
            try:
                (tmp_path / "killed").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), 9)
        return counts[start:stop]

    array = da.map_blocks(
        deadly_block,
        chunks=((50, 50, 50, 60), (40,), (48,)),
        dtype=counts.dtype,
        meta=np.empty((0, 0, 0), counts.dtype),
    )
    encode_many([array], [tmp_path / "m.zarr"], client=client, **SETTINGS)
    assert (tmp_path / "killed").exists()
    assert stored(tmp_path / "m.zarr") == one_machine


def test_a_movie_that_fails_leaves_nothing_and_the_others_go_on(client, on_disk, one_machine, tmp_path):
    sources = [on_disk, Deadly(tmp_path, on_disk, broken=130), tmp_path / "absent.npy", on_disk]
    urls = [tmp_path / f"{n}.zarr" for n in range(4)]
    (tmp_path / "3.zarr").mkdir()
    (tmp_path / "3.zarr" / "notes.txt").write_text("mine")
    with pytest.raises(
        BatchError, match=r"3 of 4 movies were not stored; the first: .*1\.zarr: OSError"
    ) as caught:
        encode_many(sources, urls, client=client, **SETTINGS)
    report = caught.value.report
    assert [one.url for one in report.reports] == [str(urls[0])]
    assert stored(urls[0]) == one_machine
    assert not urls[1].exists() and not urls[2].exists()
    assert stored(urls[3]) == {"notes.txt": b"mine"}
    assert "the disk of the microscope is gone" in report.failures[str(urls[1])]
    assert "there is no such file" in report.failures[str(urls[2])]
    assert "StoreExistsError" in report.failures[str(urls[3])]
    assert json.loads(json.dumps(report.to_dict()))["failures"] == report.failures


def test_an_error_in_a_chunk_says_where_in_the_movie_it_is(client, counts, tmp_path):
    values = counts.astype("float32")
    values[147, 3, 5] = np.nan
    with pytest.raises(BatchError, match=r"frame 147"):
        encode_many([values], [tmp_path / "m.zarr"], client=client, **SETTINGS)


def test_resume_goes_on_from_what_was_written(client, on_disk, one_machine, tmp_path):
    broken = Deadly(tmp_path, on_disk, broken=150)
    with pytest.raises(BatchError):
        encode_many([broken], [tmp_path / "m.zarr"], client=client, resume=True, **SETTINGS)
    listed = set(manifest.unpack((tmp_path / "m.zarr" / manifest.NAME).read_bytes(), ""))
    # One that was written and not listed any more is encoded again: nobody knows of which frames it was made.
    before = {path.name for path in (tmp_path / "m.zarr").glob("*.0.0")}
    assert listed <= before and before and "7.0.0" not in before
    # A worker of the failed encode may still read; a running task of Dask cannot be stopped.
    (tmp_path / "mended").mkdir()
    mended = Deadly(tmp_path / "mended", on_disk)
    report = encode_many([mended], [tmp_path / "m.zarr"], client=client, resume=True, **SETTINGS)
    assert stored(tmp_path / "m.zarr") == one_machine
    missing = [20 * n for n in range(10) if f"{n}.0.0" not in listed]
    assert mended.reads(20) == missing
    assert f"{len(listed)} chunks were there already, and whole" in report.reports[0].notes


def test_what_exists_is_refused_or_replaced(client, on_disk, one_machine, tmp_path):
    pg.encode(np.ones((5, 4, 4), "uint16"), tmp_path / "m.zarr", noise=pg.NoiseModel())
    with pytest.raises(BatchError) as caught:
        encode_many([on_disk], [tmp_path / "m.zarr"], client=client, **SETTINGS)
    assert isinstance(caught.value.__cause__, StoreExistsError)
    encode_many([on_disk], [tmp_path / "m.zarr"], client=client, overwrite=True, **SETTINGS)
    assert stored(tmp_path / "m.zarr") == one_machine


def test_misaligned_blocks_can_be_refused(client, counts, tmp_path):
    for way in ({"client": client}, {}):
        with pytest.raises(
            BatchError, match="7 of 7 dask blocks are not aligned with chunks of 20 whole frames"
        ):
            encode_many(
                [da.from_array(counts, chunks=(33, 40, 48))],
                [tmp_path / "m.zarr"],
                rechunk=False,
                **way,
                **SETTINGS,
            )
        assert not (tmp_path / "m.zarr").exists()


def test_workers_keep_what_a_file_says_besides_pixels(client, counts, tmp_path):
    path, times = tmp_path / "m.tif", np.arange(len(counts)) / 30
    tifffile.imwrite(path, counts, photometric="minisblack", software="rig 3", metadata={"axes": "TYX"})
    folders = [tmp_path / "cluster.zarr", tmp_path / "here.zarr"]
    encode_many([path], folders[:1], client=client, timestamps=times, **SETTINGS)
    pg.encode(path, folders[1], timestamps=times, **SETTINGS)
    cluster, here = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert cluster == here
    movie = pg.open(folders[0])
    assert movie.source_metadata["tiff/Software"].text == "rig 3" and movie.axes == "tyx"
    np.testing.assert_array_equal(movie.timestamps, times)


def test_a_place_that_workers_do_not_share_is_refused(client, on_disk):
    with pytest.raises(BatchError, match=r"memory:///lost.zarr: worker .* does not find the claim"):
        encode_many([on_disk], ["memory://lost.zarr"], client=client, **SETTINGS)
    assert not pg.Storage.at("memory://lost.zarr").names()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    pytest.importorskip("s3fs", reason="pip install 'photon-gpu[s3]'")
    with servers.seaweed(tmp_path_factory.mktemp("weed")) as endpoint:
        yield endpoint


def test_to_s3_with_a_worker_killed(client, on_disk, one_machine, counts, bucket, tmp_path):
    options = {"key": "AK", "secret": "SK", "endpoint_url": f"http://{bucket}"}
    deadly = Deadly(tmp_path, on_disk, killer=45)
    url = "s3://imaging/cluster/m.zarr"
    encode_many(
        [deadly, on_disk],
        [url, "s3://imaging/cluster/n.zarr"],
        client=client,
        storage_options=options,
        **SETTINGS,
    )
    assert (tmp_path / "killed").exists()
    for name in ("m", "n"):
        storage = pg.Storage.at(f"s3://imaging/cluster/{name}.zarr", options)
        assert {file: storage.read(file) for file in storage.names()} == one_machine
    # And back over the same cluster, the store read by the workers themselves.
    movie = pg.open(url, storage_options=options)
    means = movie.to_dask().mean((1, 2)).compute()
    np.testing.assert_allclose(means, movie.counts[...].mean((1, 2)))


def test_without_a_client_it_is_this_machine(on_disk, counts, one_machine, tmp_path):
    urls = [tmp_path / f"{n}.zarr" for n in range(2)]
    ticks = []
    report = pg.encode_many(
        [on_disk, da.from_array(counts, chunks=(33, 40, 48))],
        urls,
        progress=lambda *tick: ticks.append(tick),
        **SETTINGS,
    )
    assert stored(urls[0]) == stored(urls[1]) == one_machine
    assert ticks[-1] == (str(urls[1]), 210, 210)
    table = str(report).splitlines()
    assert table[0].split()[:2] == ["movie", "raw"] and table[-1].startswith("2 of 2 movies")
    with pytest.raises(BatchError, match="1 of 2 movies"):
        pg.encode_many([on_disk, on_disk], [urls[0], tmp_path / "new.zarr"], **SETTINGS)
    assert stored(tmp_path / "new.zarr") == one_machine


def test_bars_are_drawn(on_disk, tmp_path, capsys):
    pg.encode_many([on_disk], [tmp_path / "m.zarr"], progress=True, **SETTINGS)
    assert "1 movies" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, message",
    [
        ({"urls": ["a.zarr"]}, "2 sources and 1 urls"),
        ({"urls": ["a.zarr", "./a.zarr"]}, "listed twice"),
        ({"sources": "movie.tif"}, "a list of movies is needed"),
        ({"sources": np.ones((2, 3, 3))}, "a list of movies is needed"),
        ({"noise": [NOISE]}, "1 entries for 2 movies"),
        ({"resume": True, "overwrite": True}, "give one of them"),
        ({"at_once": 0}, "at_once is 0"),
        ({"check": "full"}, "allowed are True and False"),
        ({"layout": "tight"}, "layout is 'tight'"),
        ({"step": -1}, "step"),
    ],
)
def test_what_cannot_work_is_refused_at_once(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    asked = {"sources": [np.ones((3, 4, 4))] * 2, "urls": ["a.zarr", "b.zarr"], **change}
    with pytest.raises(InvalidInputError, match=message):
        encode_many(asked.pop("sources"), asked.pop("urls"), **asked)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["here", "cluster"])
@pytest.mark.parametrize("source_type", ["path", "array"])
def test_a_failing_check_is_told_stored_and_can_be_an_error(
    client, counts, on_disk, tmp_path, where, source_type
):
    source, settings = on_disk if source_type == "path" else counts, {**SETTINGS, "step": 4.0, "check": True}
    client = client if where == "cluster" else None
    with pytest.warns(pg.FidelityWarning, match="bad.zarr fails its own check: .*snr"):
        report = encode_many([source], [tmp_path / "bad.zarr"], client=client, **settings)
    (one,) = report.reports
    assert "snr" in one.failed and report.failed == {one.url: one.failed}
    assert "CHECK FAILED: " in str(report) and report.to_dict()["failed"] == {one.url: list(one.failed)}
    assert "snr" in pg.open(tmp_path / "bad.zarr").failed_check
    with warnings.catch_warnings():
        warnings.simplefilter("error", pg.FidelityWarning)
        with pytest.raises(BatchError, match="FidelityWarning"):
            encode_many([source], [tmp_path / "none.zarr"], client=client, **settings)
    assert not (tmp_path / "none.zarr").exists()
    good = encode_many([source], [tmp_path / "good.zarr"], client=client, **{**settings, "step": 0.5})
    assert (
        good.failed == {}
        and good.reports[0].passed
        and "lines checked on a sample: " in good.reports[0].checked
    )


def test_photon_peaks_of_a_dark_movie_are_those_of_one_machine(client, tmp_path):
    values = resolved_photons(0.3, 0.2)
    options = {
        "noise": pg.NoiseModel(gain=100.0, offset=500.0, variance=400.0),
        "layout": "compact",
        "chunk_frames": 20,
        "peaks": "auto",
    }
    report = encode_many([values], [tmp_path / "many.zarr"], client=client, **options)
    pg.encode(values, tmp_path / "one.zarr", **options)
    assert pg.open(tmp_path / "many.zarr").encoding.peaks == 5
    assert stored(tmp_path / "many.zarr") == stored(tmp_path / "one.zarr")
    assert "peaks with bins of their own: 5" in str(report.reports[0])
