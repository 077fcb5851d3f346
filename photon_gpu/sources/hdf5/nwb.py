"""Find the image series of an NWB file, and the external files of a series, if it has any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from photon_gpu.errors import InvalidInputError, StoreNotFoundError
from photon_gpu.sources.check import is_movie

_MOST_ROWS = 10


@dataclass(frozen=True)
class Series:
    """An image series: its path, its NWB type, and its frames or the names of the files that hold them."""

    path: str
    neurodata_type: str
    group: Any

    @property
    def names(self) -> tuple[str, str, str]:
        """Names that select the series: its path, the path of its data, and the last part of its path."""
        path = self.path.strip("/")
        return path, f"{path}/data", path.rpartition("/")[2]

    @property
    def data(self) -> Any:
        """The dataset of the frames."""
        return self.group["data"]

    @property
    def files(self) -> list[str]:
        """Names of the external files; empty if the frames are in the dataset."""
        names = self.group.get("external_file")
        return [] if names is None else [str(name) for name in names.asstr()[...].tolist()]

    @property
    def rate(self) -> float | None:
        """Frames per second, if the series states them."""
        start = self.group.get("starting_time")
        rate = None if start is None else start.attrs.get("rate")
        return None if rate is None else float(rate)

    def row(self, width: int) -> str:
        """Line of a table."""
        content = f"in {', '.join(self.files)[:60]}" if self.files else _shape(self.data)
        rate = f", {self.rate:g} Hz" if self.rate else ""
        return f"  {self.path:<{width}}  {self.neurodata_type}, {content}{rate}"


def is_nwb(file: Any) -> bool:
    """Whether an HDF5 file is an NWB file."""
    return "nwb_version" in file.attrs


def find_series(file: Any) -> dict[str, Series]:
    """Find all image series of a file; return them by path."""
    by_path: dict[str, Series] = {}

    def visit(_: str, group: Any) -> None:
        if not isinstance(group, h5py.Group) or "neurodata_type" not in group.attrs:
            return
        series = Series(group.name, str(group.attrs["neurodata_type"]), group)
        data = group.get("data")
        if series.files or (isinstance(data, h5py.Dataset) and is_movie(data.shape, data.dtype)):
            by_path[series.path] = series

    file.visititems(visit)
    return by_path


def choose_series(file: Any, wanted: str | None, name: str) -> Series | None:
    """Choose a series by its path or its name; return None if ``wanted`` is not a series.

    Raises
    ------
    InvalidInputError
        There are several, and ``wanted`` names none of them. The notes of the error list them.
    """
    series = find_series(file)
    if wanted is None and not series:
        return None
    matches = [
        one
        for path, one in series.items()
        if wanted is None
        or wanted.strip("/") in (path.strip("/"), path.rpartition("/")[2], f"{path}/data"[1:])
    ]
    if len(matches) == 1:
        return matches[0]
    if wanted is not None and not matches:
        return None
    width = max(len(one.path) for one in matches)
    rows = [one.row(width) for one in matches[:_MOST_ROWS]]
    if len(matches) > _MOST_ROWS:
        rows.append(f"  and {len(matches) - _MOST_ROWS} more")
    error = InvalidInputError(f"{name}: {len(matches)} series could be the movie; choose one by dataset=NAME")
    for row in rows:
        error.add_note(row)
    raise error


def external_files(series: Series, home: Path, name: str) -> list[str]:
    """Return the paths of the external files of a series; the NWB file names them relative to itself.

    Raises
    ------
    StoreNotFoundError
        One of them does not exist.
    """
    paths = [home / file for file in series.files]
    if absent := [str(path) for path in paths if not path.exists()]:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise StoreNotFoundError(
            f"{name}: its frames are in other files, and {absent[0]}{more} is not there; copy them beside "
            "the NWB file"
        )
    return [str(path) for path in paths]


def _shape(dataset: Any) -> str:
    return f"{dataset.dtype} {' x '.join(map(str, dataset.shape))}"
