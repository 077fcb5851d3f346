"""What the tests of stores share."""

from __future__ import annotations

import pytest

from photon_gpu.store.storage import Storage


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    """An empty store, on the disk and in memory."""
    storage = Storage.at(
        tmp_path / "m.zarr" if request.param == "local" else f"memory://{tmp_path.name}/m.zarr"
    )
    yield storage
    storage.delete_folder()
