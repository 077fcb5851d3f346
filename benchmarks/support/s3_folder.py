"""Folders in an S3 bucket that contenders use like paths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Bucket:
    """A folder at an S3 server: ``bucket/key``."""

    endpoint: str
    root: str

    @property
    def options(self) -> dict[str, Any]:
        """Address for fsspec."""
        return {"key": "AK", "secret": "SK", "endpoint_url": f"http://{self.endpoint}"}

    @property
    def url(self) -> str:
        return f"s3://{self.root}"

    @cached_property
    def fs(self) -> Any:
        import s3fs

        return s3fs.S3FileSystem(**self.options)

    def __truediv__(self, name: str) -> Bucket:
        return Bucket(self.endpoint, f"{self.root}/{name}")

    def read_bytes(self) -> bytes:
        return bytes(self.fs.cat_file(self.root))

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def take(self, folder: Path) -> None:
        """Store all files of a folder here."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.fs.pipe_file(f"{self.root}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def empty(self) -> None:
        self.fs.rm(self.fs.find(self.root))


def some_bytes(file: Path | Bucket, start: int, stop: int) -> bytes:
    """Read the bytes ``start:stop`` of a file, and no others."""
    if isinstance(file, Bucket):
        return bytes(file.fs.cat_file(file.root, start=start, end=stop))
    with file.open("rb") as opened:
        opened.seek(start)
        return opened.read(stop - start)


def for_zarr(folder: Path | Bucket) -> dict[str, Any]:
    """Arguments for zarr-python's ``open``."""
    if isinstance(folder, Bucket):
        return {"store": folder.url, "storage_options": folder.options}
    return {"store": str(folder)}
