from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def memory_disk(tmp_path):
    """A folder where syncing costs nothing: for faults that no real disk is needed for."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="photon-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
