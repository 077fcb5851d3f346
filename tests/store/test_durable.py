"""Files whole or not at all, whatever fails on the way."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from functools import partial

import pytest

from photon_gpu.store import durable
from photon_gpu.store.storage import Storage
from tests.support.concurrent_calls import at_once


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = str(tmp_path / "a/b/file")
    durable.write_file(path, b"one")
    durable.write_file(path, memoryview(b"other"))
    assert (tmp_path / "a/b/file").read_bytes() == b"other"
    assert os.listdir(tmp_path / "a/b") == ["file"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = str(tmp_path / "file")
    durable.write_file(path, b"one")

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, call, fail)
    with pytest.raises(OSError, match="No space"):
        durable.write_file(path, b"other")
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"one" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "act",
    [
        lambda path: durable.write_file(path, b"other"),
        lambda path: durable.create_file(path + "-new", b"other"),
        lambda path: durable.write_files([(path, b"other")]),
    ],
)
def test_an_interrupt_right_after_a_file_was_created_leaves_nothing(tmp_path, monkeypatch, act):
    """Ctrl+C can arrive after ``open`` made the file and before its caller knows of it."""
    path = str(tmp_path / "file")
    durable.write_file(path, b"one")
    real = os.open

    def interrupted(opened, flags, *mode):
        descriptor = real(opened, flags, *mode)
        if flags & os.O_CREAT:
            os.close(descriptor)
            raise KeyboardInterrupt
        return descriptor

    monkeypatch.setattr(durable.os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        act(path)
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"one" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("nth", range(6))
def test_files_together_the_last_only_with_all_others(tmp_path, monkeypatch, call, nth):
    """Whatever call fails first: nothing is left over, and the last file is new only if all are."""
    files = [(str(tmp_path / name), name.encode()) for name in ("a", "b", "last")]
    durable.write_files([(path, b"old") for path, _ in files])
    real, calls = getattr(os, call), iter(range(100))

    def fail(*args, **kwargs):
        if next(calls) == nth:
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(durable.os, call, fail)
    try:
        durable.write_files(files)
        failed = False
    except OSError:
        failed = True
    monkeypatch.undo()
    assert failed == (nth < (5 if call == "fsync" else 3))
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "last"]
    result = [(tmp_path / name).read_bytes() for name in ("a", "b", "last")]
    if result[2] == b"last":
        assert result == [b"a", b"b", b"last"]
    assert failed or result[2] == b"last"


def test_the_folder_is_synced_before_the_last_file_appears_and_after(tmp_path, monkeypatch):
    """Or a power cut could keep the last name and lose the others."""
    seen = []
    replace, sync = os.replace, durable.sync_folder
    monkeypatch.setattr(
        durable.os, "replace", lambda a, b: (seen.append(os.path.basename(b)), replace(a, b))[1]
    )
    monkeypatch.setattr(durable, "sync_folder", lambda path: (seen.append("sync"), sync(path))[1])
    durable.write_files([(str(tmp_path / name), b"x") for name in ("a", "b", "last")])
    assert seen == ["a", "b", "sync", "last", "sync"]


def test_of_many_that_create_one_wins(tmp_path):
    for n in range(20):
        won, start = [], threading.Barrier(4)

        def create(k, n=n, won=won, start=start):
            start.wait()
            try:
                durable.create_file(str(tmp_path / f"{n}/file"), b"%d" % k)
                won.append(k)
            except FileExistsError:
                pass

        at_once(partial(create, k) for k in range(4))
        assert len(won) == 1 and (tmp_path / f"{n}/file").read_bytes() == b"%d" % won[0]
        assert os.listdir(tmp_path / f"{n}") == ["file"]


def test_create_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def no_links(*args):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(durable.os, "link", no_links)
    durable.create_file(str(tmp_path / "file"), b"one")
    with pytest.raises(FileExistsError):
        durable.create_file(str(tmp_path / "file"), b"two")
    assert (tmp_path / "file").read_bytes() == b"one" and os.listdir(tmp_path) == ["file"]


def test_half_written_files_are_part_of_no_store(tmp_path):
    storage = Storage.at(tmp_path / "m.zarr")
    storage.write("0.0.0", b"data")
    (tmp_path / f"m.zarr/{durable.PARTIAL}0123456789ab").write_bytes(b"da")
    (tmp_path / f"m.zarr/{durable.PARTIAL}notes").write_bytes(b"not photon_gpu's own")
    assert storage.names() == [f"{durable.PARTIAL}notes", "0.0.0"]
    storage.delete_partial()
    assert sorted(os.listdir(tmp_path / "m.zarr")) == [f"{durable.PARTIAL}notes", "0.0.0"]


def test_two_folders_exchange_their_names_in_one_step(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    if not durable.exchange(str(tmp_path / "a"), str(tmp_path / "b")):
        pytest.skip("this file system exchanges no names")
    assert os.listdir(tmp_path / "a") == ["b"] and os.listdir(tmp_path / "b") == ["a"]
    with pytest.raises(FileNotFoundError):
        durable.exchange(str(tmp_path / "a"), str(tmp_path / "none"))


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL])
def test_where_names_cannot_be_exchanged_nothing_is_changed(tmp_path, monkeypatch, code):
    (tmp_path / "a").mkdir()

    def refuse(path, other):
        ctypes.set_errno(code)
        return -1

    monkeypatch.setattr(durable, "_exchange_call", lambda: refuse)
    assert not durable.exchange(str(tmp_path / "a"), str(tmp_path / "b"))
    monkeypatch.setattr(durable, "_exchange_call", lambda: None)
    assert not durable.exchange(str(tmp_path / "a"), str(tmp_path / "b"))
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_goes_only_if_it_is_empty(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert durable.remove_folder_if_empty(str(tmp_path / "a")) == ["b"]
    assert durable.remove_folder_if_empty(str(tmp_path / "a" / "b")) == []
    assert durable.remove_folder_if_empty(str(tmp_path / "a")) == []
    assert durable.remove_folder_if_empty(str(tmp_path / "a")) == []


def test_large_files_and_offsets(tmp_path):
    data = os.urandom((1 << 24) + 17)
    durable.write_file(str(tmp_path / "file"), data)
    assert (tmp_path / "file").read_bytes() == data
    descriptor = os.open(tmp_path / "file", os.O_WRONLY)
    assert durable.write_all(descriptor, b"xyz", 5) == 3
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes()[:10] == data[:5] + b"xyz" + data[8:10]


def test_a_file_made_without_a_sync_is_exclusive_all_the_same(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(durable.os, "fsync", synced.append)
    durable.make_folder(str(tmp_path))
    durable.create_file(str(tmp_path / "file"), b"one", synced=False)
    with pytest.raises(FileExistsError):
        durable.create_file(str(tmp_path / "file"), b"two", synced=False)
    assert not synced and (tmp_path / "file").read_bytes() == b"one" and os.listdir(tmp_path) == ["file"]
    durable.create_file(str(tmp_path / "other"), b"one")
    assert len(synced) == 2


def _raise(error):
    raise error


def test_others_come_before_the_first_name_and_may_stop_it_all(tmp_path):
    files = [(str(tmp_path / name), b"new") for name in ("a", "last")]
    durable.write_files(
        files, lambda: durable.write_file(str(tmp_path / "other"), b"%d" % (tmp_path / "a").exists())
    )
    assert (
        sorted(os.listdir(tmp_path)) == ["a", "last", "other"] and (tmp_path / "other").read_bytes() == b"0"
    )
    with pytest.raises(OSError, match="full"):
        durable.write_files([(path, b"newer") for path, _ in files], lambda: _raise(OSError("full")))
    assert sorted(os.listdir(tmp_path)) == ["a", "last", "other"]
    assert (tmp_path / "last").read_bytes() == (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_failed_replacement_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    (tmp_path / "report.json").write_text("old")

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, call, fail)
    with (
        pytest.raises(OSError, match=r"No space.*report.json"),
        durable.replacing(tmp_path / "report.json") as file,
    ):
        file.write(b"half of the n")
    monkeypatch.undo()
    assert (tmp_path / "report.json").read_text() == "old" and os.listdir(tmp_path) == ["report.json"]


def test_a_replacement_follows_links_and_keeps_permissions(tmp_path):
    real, link = tmp_path / "real.html", tmp_path / "link.html"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to("real.html")
    with durable.replacing(link) as file:
        file.write(b"new")
        assert real.read_text() == "old"
    assert link.is_symlink() and real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link.html", "real.html"]


def test_what_is_no_file_is_written_to_directly(tmp_path):
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    seen = []
    reader = threading.Thread(target=lambda: seen.append(pipe.read_bytes()))
    reader.start()
    with durable.replacing(pipe) as file:
        file.write(b"{}")
    reader.join(10)
    assert seen == [b"{}"] and pipe.is_fifo()
