"""Suffixes of files."""

from __future__ import annotations

from photon_gpu.file_types import FOREIGN, SUFFIXES, file_suffixes
from photon_gpu.sources.open import _FILE_TYPES


def test_every_type_has_suffixes_of_its_own():
    assert [file_type.name for file_type in _FILE_TYPES] == list(SUFFIXES)
    every = [suffix for suffixes in SUFFIXES.values() for suffix in suffixes] + list(FOREIGN)
    assert len(set(every)) == len(every)
    assert ".zarr" not in file_suffixes() and ".nd2" in file_suffixes()
