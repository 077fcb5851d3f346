"""The folder of one movie: write and read chunk files together with their manifest entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from photon_gpu.errors import CorruptDataError
from photon_gpu.store import frame_records, manifest
from photon_gpu.store.chunk_grid import ChunkGrid
from photon_gpu.store.metadata import ARRAY, ATTRIBUTES, Description, describe
from photon_gpu.store.storage import Storage


@dataclass(frozen=True)
class MovieFolder(ChunkGrid):
    """A folder that holds, or will hold, the chunks of one movie.

    Attributes
    ----------
    shape, chunks : tuple of int
        See :class:`~photon_gpu.store.chunk_grid.ChunkGrid`.
    storage : Storage

    Examples
    --------
    >>> folder = MovieFolder((25, 8, 8), (10, 8, 8), Storage.at("memory://folder.zarr"))
    >>> files = folder.write_chunk(2, b"data")
    >>> files
    {'2.0.0': [4, 'adf3f363']}
    >>> folder.read_chunk(2, files)
    b'data'
    """

    storage: Storage

    def write_chunk(self, number: int, data: bytes, records: bytes | None = None) -> dict[str, list[Any]]:
        """Write the file of a chunk, after its frame records if it has any; return their manifest entries."""
        files = {} if records is None else {frame_records.file_name(number): records}
        files[self.chunk_name(number)] = data
        for name, content in files.items():
            self.storage.write(name, content)
        return {name: manifest.entry(content) for name, content in files.items()}

    def read_chunk(self, number: int, files: dict[str, list[Any]]) -> bytes:
        """Read the file of a chunk and compare it with its manifest entry.

        If the movie has no manifest, ``files`` is empty and nothing is compared.

        Raises
        ------
        CorruptDataError
            The file is missing or was altered; the message names the frames.
        """
        name = self.chunk_name(number)
        try:
            data = self.storage.read(name)
            if files:
                manifest.check(name, data, files, self.storage.url)
        except FileNotFoundError as error:
            raise CorruptDataError(f"{self.unreadable(number)}: {name} is missing") from error
        except CorruptDataError as error:
            raise CorruptDataError(f"{self.unreadable(number)}: {error}") from error
        return data

    def unreadable(self, number: int) -> str:
        """Return the beginning of an error message that says which frames cannot be read."""
        frames = self.frames_of(number)
        return f"{self.storage.url}: frames {frames[0]} to {frames[-1]} cannot be read"


def read_description(storage: Storage) -> Description:
    """Read ``.zarray`` and ``.zattrs`` of a folder; raise FileNotFoundError if one is missing."""
    return describe(storage.read(ARRAY), storage.read(ATTRIBUTES), storage.url)
