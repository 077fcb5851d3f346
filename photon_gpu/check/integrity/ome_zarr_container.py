"""Check what an OME-Zarr movie has beside its chunks: both ``zarr.json``, and the rest of the shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from photon_gpu.check.integrity.result import Problem
from photon_gpu.errors import PhotonError
from photon_gpu.store import manifest
from photon_gpu.store.manifest import Manifest
from photon_gpu.store.metadata import ARRAY, ATTRIBUTES
from photon_gpu.store.ome_zarr.pyramid_levels import is_level_file
from photon_gpu.store.ome_zarr.zarr2_view import ARRAY_JSON, GROUP_JSON, OmeZarrStorage
from photon_gpu.store.storage import Storage


def container_problems(storage: Storage, index: Manifest | None, *, unfinished: bool) -> Iterator[Problem]:
    """Yield the problems of the stored files themselves, compared with the manifest.

    Chunks are checked one by one like those of a folder, and so are the texts of ``.zarray`` and
    ``.zattrs``. What is left are other words of ``zarr.json``, bytes of a shard outside its chunks, and the
    files of further levels, which :func:`photon_gpu.repair` averages again.
    """
    if not isinstance(storage, OmeZarrStorage) or index is None:
        return
    if not index.container and unfinished:
        return  # the last manifest of an encode lists them
    if not index.container:
        yield Problem(kind="mismatched", name=manifest.NAME, detail="it lists no shards")
        return
    sizes = storage.sizes()
    for name, entry in index.container.items():
        if name not in sizes:
            if is_level_file(name):
                yield Problem(kind="missing", name=name, detail="part of a pyramid level; no frame needs it")
            continue  # others are reported as missing chunks or metadata
        if name in (GROUP_JSON, ARRAY_JSON) or is_level_file(name):
            if detail := _difference(storage, name, entry):
                yield Problem(kind="altered", name=name, detail=detail)
        elif sizes[name] != entry[0]:
            detail = f"{sizes[name]:,} bytes of {entry[0]:,}"
            yield Problem(kind="truncated" if sizes[name] < entry[0] else "altered", name=name, detail=detail)
        elif detail := _shard_problem(storage, name, entry[0], index):
            yield Problem(kind="altered", name=name, detail=detail)


def _difference(storage: OmeZarrStorage, name: str, entry: list[Any]) -> str:
    try:
        actual = manifest.entry(storage.read_stored(name))
    except (PhotonError, OSError) as error:
        return str(error)
    if actual == entry:
        return ""
    return f"{actual[0]:,} bytes with CRC {actual[1]}, written as {entry[0]:,} with {entry[1]}"


def named_as_stored(storage: Storage, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Give problems of ``.zarray`` and ``.zattrs`` the name of the ``zarr.json`` that holds them.

    Of several problems of one ``zarr.json`` the gravest remains.
    """
    if not isinstance(storage, OmeZarrStorage):
        return problems
    sizes = {one.name: one.detail for one in problems if one.name in (GROUP_JSON, ARRAY_JSON)}
    texts = {name: storage.stored_name(name) for name in (ARRAY, ATTRIBUTES)}
    named = [replace(one, name=texts.get(one.name, one.name)) for one in problems]
    gravest: dict[str, Problem] = {}
    for one in sorted(named, key=lambda one: (not one.every_frame, one.kind != "missing")):
        if one.kind in ("altered", "truncated"):  # of the file itself, not of what it holds
            one = replace(one, detail=sizes.get(one.name, one.detail))
        gravest.setdefault(one.name, one)
    others = [one for one in named if one.name not in (GROUP_JSON, ARRAY_JSON)]
    return (*(gravest[name] for name in (GROUP_JSON, ARRAY_JSON) if name in gravest), *others)


def _shard_problem(storage: OmeZarrStorage, name: str, size: int, index: Manifest) -> str:
    try:
        return storage.shard_problem(name, size, index.files)
    except PhotonError as error:  # of the metadata that state the shards
        return str(error)
