"""Keeper: from memory to the spool in order, so that a kill at any moment leaves no gap."""

from __future__ import annotations

from unittest import mock

import pytest

from photon_gpu.live.pipeline.unstored_chunks import Keeper, Parcel
from photon_gpu.live.spool.spool import Spool
from photon_gpu.live.state.config import LiveConfig
from photon_gpu.live.state.ledger import Ledger

CHUNK = 4


@pytest.fixture
def spool(tmp_path):
    config = LiveConfig(frame_shape=(6, 7), dtype="uint16", chunk_frames=CHUNK)
    spool = Spool.begin(tmp_path / "spool", "m", {"token": "0" * 32, "config": config.to_dict()})
    yield spool
    spool.release()


def parcel(number, frames=CHUNK):
    return Parcel(number, frames, None, b"%d" % number)


def test_a_chunk_waits_in_memory_for_those_before_it(spool):
    ledger = Ledger("chunk", CHUNK)
    keeper = Keeper(ledger, spool)
    assert [keeper.hold(parcel(number)) for number in (2, 1, 4)] == [1, 2, 3]
    keeper.keep()
    assert not spool.saved() and ledger.acknowledged == 0
    keeper.hold(parcel(0))
    keeper.keep()
    assert spool.saved() == [0, 1, 2] and ledger.acknowledged == 3 * CHUNK
    assert spool.load_chunk(1) == (CHUNK, None, b"1")
    assert not keeper.wait(0, 0.0) and keeper.wait(1, 0.0)  # 4 is held still


def test_a_chunk_in_the_store_that_readers_do_not_see_is_noted_in_its_turn(spool):
    ledger = Ledger("chunk", CHUNK)
    keeper = Keeper(ledger, spool)
    for number in (0, 1, 3):
        ledger.store(number, CHUNK, {f"{number}.0.0": [1, "0"]}, 1)
    ledger.publish([0])
    keeper.hold(parcel(2))
    keeper.keep()
    assert spool.stored() == [1, 3] and spool.saved() == [2] and ledger.acknowledged == 4 * CHUNK
    ledger.publish([1])
    assert ledger.acknowledged == 4 * CHUNK


def test_what_the_disk_refuses_holds_up_those_behind_it(spool):
    ledger = Ledger("chunk", CHUNK)
    keeper = Keeper(ledger, spool)
    for number in range(3):
        keeper.hold(parcel(number))
    save, refused = spool.save_chunk, [1]

    def refusing(number, *rest):
        if number in refused:
            raise OSError(28, "No space left on device")
        save(number, *rest)

    with mock.patch.object(spool, "save_chunk", refusing):
        keeper.keep()
        assert spool.saved() == [0] and "No space" in ledger.trouble
        refused.clear()
        keeper.keep()
    assert spool.saved() == [0, 1, 2] and ledger.acknowledged == 3 * CHUNK


def test_a_chunk_that_was_delivered_is_not_kept_and_after_the_end_none_is(spool):
    ledger = Ledger("chunk", CHUNK)
    keeper = Keeper(ledger, spool)
    gone = parcel(0)
    keeper.hold(gone)
    keeper.let_go(gone)
    keeper.end()
    assert gone.data is None and not spool.saved()
    keeper.hold(parcel(0))
    keeper.keep()
    assert not spool.saved()


def test_a_note_of_a_chunk_that_is_published_meanwhile_does_not_stay(spool):
    ledger = Ledger("chunk", CHUNK)
    keeper = Keeper(ledger, spool)
    ledger.store(0, CHUNK, {}, 1)
    note = spool.note_stored

    def slowly(number, *rest):
        ledger.publish([0])
        spool.drop(0)
        note(number, *rest)

    with mock.patch.object(spool, "note_stored", slowly):
        keeper.keep()
    assert not spool.stored() and ledger.acknowledged == CHUNK
    assert not ledger._frames_of  # nor in memory
