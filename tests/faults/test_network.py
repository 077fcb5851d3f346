"""SeaweedFS and moto, real S3 servers, behind a network that fails. And no credentials anywhere."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import StoreExistsError, StoreUnavailableError
from photon_gpu.live.spool.spool import pending
from photon_gpu.live.state.retrying import error_text
from tests.support import servers
from tests.support.concurrent_calls import at_once
from tests.support.faults.faulty_network import KEY, SECRET, Proxy, options
from tests.support.faults.interrupted_recordings import check_prefix, frames, settings

pytest.importorskip("s3fs", reason="pip install 'photon-gpu[s3]'")


@pytest.fixture(scope="module", params=["seaweed", "moto"])
def server(request, tmp_path_factory):
    with contextlib.ExitStack() as stack:
        for attempt in reversed(range(3)):
            folder = tmp_path_factory.mktemp(request.param)
            try:
                endpoint = stack.enter_context(getattr(servers, request.param)(folder))
                break
            except RuntimeError:  # another program took a port between finding it free and using it
                if not attempt:
                    raise
        yield endpoint


@pytest.fixture
def proxy(server):
    proxy = Proxy(server, seed=1)
    yield proxy
    proxy.close()


@pytest.fixture
def url(request):
    name = request.node.name.replace("[", "-").replace("]", "")
    return f"s3://imaging/{name}.zarr"


def _append(live, start, stop):
    live.append(frames(start, stop), timestamp=list(range(start, stop)))


def test_a_recording_through_a_network_that_fails_by_chance(proxy, server, url, memory_disk):
    with pg.LiveWriter(
        url,
        spool=memory_disk,
        storage_options=options(proxy.endpoint),
        **settings(durability="frame", close_seconds=30),
    ) as live:
        proxy.rate = 0.25
        for t in range(60):
            _append(live, t, t + 1)
        assert live.acknowledged == 60
        while not live.status().frames_stored:
            time.sleep(0.01)
        proxy.modes = ("reset", "503", "lost")
    assert proxy.injected > 3
    check_prefix(pg.open(url, storage_options=options(server)), 60, 60)
    assert pg.verify(url, storage_options=options(server)).ok
    assert not pending(memory_disk)


def test_an_outage_and_its_end(proxy, server, url, memory_disk):
    with pg.LiveWriter(
        url, spool=memory_disk, storage_options=options(proxy.endpoint), **settings(close_seconds=30)
    ) as live:
        _append(live, 0, 8)
        proxy.mode = "refuse"
        _append(live, 8, 40)
        until = time.monotonic() + 20
        while (live.acknowledged < 40 or not live.status().trouble) and time.monotonic() < until:
            time.sleep(0.02)
        assert live.acknowledged == 40 and live.status().trouble
        proxy.mode = "pass"
    check_prefix(pg.open(url, storage_options=options(server)), 40, 40)


def test_a_growing_movie_is_followed_and_plain_zarr_sees_what_was_published(server, url):
    import zarr

    seen = []
    options_ = options(server)
    live = pg.LiveWriter(url, storage_options=options_, **settings(layout="lossless"))
    _append(live, 0, 4)
    while not live.acknowledged:
        time.sleep(0.01)
    movie = pg.open(url, follow=True, storage_options=options_)
    assert movie.growing

    def follow():
        for result in movie:
            seen.append(result)

    reader = threading.Thread(target=follow)
    reader.start()
    for t in range(4, 30):
        _append(live, t, t + 1)
        if t == 15:
            plain = zarr.open(url, mode="r", zarr_format=2, storage_options=options_)
            assert plain.shape[0] % 4 == 0 and np.array_equal(plain[...], frames(0, plain.shape[0]))
    live.close()
    reader.join(30)
    assert len(seen) == 30 and not movie.growing
    check_prefix(movie, 30, 30)


def test_two_recordings_at_one_place_in_s3(server, url):
    won, lost = [], []
    start = threading.Barrier(3)

    def begin():
        start.wait()
        try:
            won.append(pg.LiveWriter(url, storage_options=options(server), **settings()))
        except StoreExistsError:
            lost.append(1)

    at_once([begin] * 3)
    assert len(won) <= 1 and len(won) + len(lost) == 3
    for live in won:
        _append(live, 0, 3)
        live.close()


@pytest.mark.parametrize("fault", ["reset", "503", "lost", "cut"])
def test_encode_through_a_network_that_fails_tells_and_can_be_repeated(proxy, server, url, fault):
    if fault == "cut" and "moto" in url:
        pytest.skip("moto stores what it got of a request that was cut off, which no real server does")
    proxy.modes, proxy.rate = (fault,), 0.5
    for attempt in range(6):
        try:
            pg.encode(
                frames(0, 12),
                url,
                chunk_frames=4,
                storage_options=options(proxy.endpoint),
                overwrite=attempt > 0,
                noise=pg.NoiseModel(),
                check=False,
            )
            break
        except Exception:
            proxy.rate /= 2
    else:
        proxy.rate = 0
        pg.encode(
            frames(0, 12),
            url,
            chunk_frames=4,
            storage_options=options(proxy.endpoint),
            overwrite=True,
            noise=pg.NoiseModel(),
            check=False,
        )
    assert np.array_equal(pg.open(url, storage_options=options(server)).counts[...], frames(0, 12))


def test_no_credentials_in_errors_logs_metadata_or_spool(proxy, server, url, memory_disk, caplog):
    caplog.set_level(logging.WARNING)
    live = pg.LiveWriter(
        url, spool=memory_disk, storage_options=options(proxy.endpoint), **settings(close_seconds=0.5)
    )
    _append(live, 0, 8)
    while not live.acknowledged:
        time.sleep(0.01)
    proxy.mode = "503"
    _append(live, 8, 20)
    time.sleep(0.3)
    texts = [repr(live), str(live.status())]
    with pytest.raises(StoreUnavailableError) as caught:
        live.close()
    texts += [str(caught.value), *caught.value.__notes__, caplog.text]
    texts += [path.read_bytes().decode("latin-1") for path in memory_disk.rglob("*") if path.is_file()]
    proxy.mode = "pass"
    with pytest.raises(Exception, match="127.0.0.1:9") as wrong:
        pg.recover(live.spool, storage_options={**options(server), "endpoint_url": "http://127.0.0.1:9"})
    texts.append(str(wrong.value))
    report = pg.recover(live.spool, storage_options=options(server))
    texts += [str(report), str(report.to_dict())]
    storage = pg.Storage.at(url, options(server))
    texts += [storage.read(name).decode("latin-1") for name in storage.names()]
    assert report.frames == 20 and len(texts) > 15
    for text in texts:
        assert KEY not in text and SECRET not in text


@pytest.mark.parametrize(
    "text",
    [
        "https://lab:{s}@host/x refused",
        "aws_secret_access_key={s}",
        'bad request: {{"secretKey": "{s}"}}',
        "Authorization: {s}",
        "X-Amz-Signature={s}&X",
        "password: {s}",
    ],
)
def test_what_is_told_of_an_error_hides_credentials(text):
    assert SECRET not in error_text(OSError(text.format(s=SECRET)))
