"""Sources that kill or disturb the worker that reads them; workers can import them."""

from __future__ import annotations

import os
import signal
import time
import traceback
from pathlib import Path

import numpy as np

from photon_gpu.sources.base import Source


class Deadly(Source):
    """A source that records its reads in ``folder`` and kills the first worker that reads frame ``killer``.

    ``killer`` None kills nobody; ``broken`` names a frame whose reading is an error. Reads of
    samples for the tuning are neither recorded nor disturbed.
    """

    name = "deadly"

    def __init__(self, folder, path, killer=None, broken=None):
        self.folder, self.path, self.killer, self.broken = Path(folder), str(path), killer, broken
        self.array = np.load(self.path, mmap_mode="r")
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def __reduce__(self):
        return Deadly, (self.folder, self.path, self.killer, self.broken)

    def read(self, start, stop):
        if not any(frame.name == "write_chunk" for frame in traceback.extract_stack()):
            return np.ascontiguousarray(self.array[start:stop])
        if self.killer is not None and start <= self.killer < stop and self._first():
            time.sleep(1.0)  # let others go on, and let the results of this worker be collected
            os.kill(os.getpid(), signal.SIGKILL)
        if self.broken is not None and start <= self.broken < stop:
            time.sleep(0.2)
            raise OSError("the disk of the microscope is gone")
        with (self.folder / "reads").open("a") as log:
            log.write(f"{start}:{stop} {os.getpid()}\n")
        return np.ascontiguousarray(self.array[start:stop])

    def _first(self):
        try:
            (self.folder / "killed").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def reads(self, frames):
        """Return the first frames of the chunks of ``frames`` frames that were read to their end."""
        lines = [line.split()[0].split(":") for line in (self.folder / "reads").read_text().splitlines()]
        return sorted(int(start) for start, stop in lines if int(stop) - int(start) == frames)
