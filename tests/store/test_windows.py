"""All that writes, in a process whose ``os`` behaves as on Windows: nothing is lost, no byte is changed.

What Windows lacks is removed (fcntl, pwrite, fdatasync, hard links, folders that open, signals to look for a
process); files opened without O_BINARY turn each newline byte into two; every rename is refused once, as by a
scanner that holds the file.
"""

import subprocess
import sys
import textwrap

PROGRAM = """
    import errno, os, sys
    import asyncio, filelock, fsspec.implementations.local, numba, psutil, tempfile, zarr  # theirs is theirs
    import numpy as np

    for name in ("fcntl", "resource", "termios", "pwd", "grp", "posix", "pty"):
        sys.modules[name] = None
    folder, _ = sys.argv[1], tempfile.gettempdir()
    TEXT, BINARY, refused = set(), 1 << 29, set()
    real = {name: getattr(os, name) for name in ("open", "write", "close", "replace", "unlink")}

    def ours(path):
        return os.fsdecode(path).startswith(folder)

    def open_(path, flags, mode=0o777, **more):
        if os.path.isdir(path) and ours(path):
            raise PermissionError(errno.EACCES, "folders cannot be opened", path)
        descriptor = real["open"](path, flags & ~BINARY, mode, **more)
        (TEXT.discard if flags & BINARY or not ours(path) else TEXT.add)(descriptor)
        return descriptor

    def write(descriptor, data):
        data = bytes(data)
        if descriptor not in TEXT:
            return real["write"](descriptor, data)
        real["write"](descriptor, data.replace(b"\\n", b"\\r\\n"))
        return len(data)

    def once_refused(name):
        def call(path, *to, **more):
            if ours(path) and (name, path) not in refused:
                refused.add((name, path))
                raise PermissionError(errno.EACCES, "a scanner holds it", path)
            return real[name](path, *to, **more)
        return call

    def never(*_):
        raise AssertionError("on Windows this ends the process")

    os.open, os.write, os.kill = open_, write, never
    os.replace, os.unlink = once_refused("replace"), once_refused("unlink")
    os.O_BINARY = BINARY
    for name in ("pwrite", "pread", "fdatasync", "link", "sched_getaffinity", "sysconf"):
        delattr(os, name)
    sys.platform = "win32"
    import photon_gpu as pg
    from photon_gpu.store import durable
    durable.WINDOWS, durable._exchange_call = True, lambda: None

    counts = np.full((40, 16, 16), 0x0A0A, "uint16")
    counts[::3] = 10
    settings = {"noise": pg.NoiseModel(), "chunk_frames": 10, "check": False}
    pg.encode(counts, f"{folder}/a.zarr", layout="lossless", check="full")
    pg.encode(counts, f"{folder}/a.zarr", layout="lossless", overwrite=True)
    assert pg.verify(f"{folder}/a.zarr", deep=True).ok
    assert (pg.open(f"{folder}/a.zarr").counts[...] == counts).all()

    live = {"frame_shape": (16, 16), "dtype": "uint16", **settings}
    with pg.LiveWriter(f"{folder}/b.zarr", durability="frame", **live) as writer:
        for start in range(0, 40, 5):
            writer.append(counts[start : start + 5])
    assert len(pg.open(f"{folder}/b.zarr")) == 40 and pg.verify(f"{folder}/b.zarr").ok
    writer = pg.LiveWriter(f"{folder}/c.zarr", durability="frame", **live)
    writer.append(counts[:33])
    print("recorded", writer.acknowledged, flush=True)
    os._exit(0)
"""
RECOVER = """
    report = pg.recover(f"{folder}/c.zarr")
    assert report.frames == 33 and pg.verify(f"{folder}/c.zarr").ok, report
    assert abs(pg.open(f"{folder}/c.zarr").counts[...].astype(int) - counts[:33]).max() < 60
    print("recovered", report.frames)
"""


def run(program, folder):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_windows_loses_and_changes_nothing(tmp_path):
    assert "recorded 33" in run(PROGRAM, tmp_path)
    setup = PROGRAM[: PROGRAM.index("    pg.encode(")]
    assert "recovered 33" in run(setup + RECOVER, tmp_path)
