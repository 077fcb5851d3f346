"""Decide whether a source file may be deleted once its movie is stored, and delete it.

The decision does not trust the reader of frames. Before the encode every byte of the file is classified as
image data, as structure that the store has too (shape, dtype), as metadata that the store keeps, or as
something else. An error names the latter and refuses the deletion. After the encode another program reads
every page of the file once more, and each must be among the pages that were compared with the stored movie.
"""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.runtime.fast_crc32 import crc32
from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning
from photon_gpu.recording import Document
from photon_gpu.sources.base import Source
from photon_gpu.sources.missing_frames import lost_note
from photon_gpu.sources.tiff.byte_accounting import Directory, Tag, TiffBytes, hidden_pages
from photon_gpu.sources.tiff.metadata_blocks import scanimage_header
from photon_gpu.sources.tiff.metadata_tags import ASCII, Tags, from_documents, says_nothing
from photon_gpu.sources.tiff.rawfile import RawFile
from photon_gpu.store import source_metadata
from photon_gpu.store.storage import Storage

if TYPE_CHECKING:
    from photon_gpu.check.fidelity.property_verdicts import ReportLine

_TIFF = (".tif", ".tiff", ".btf", ".tf8")
_NAMED = 3  # Most losses that a message names.
_PADDING = 1 << 16  # Longest run of zeros between two parts of a file that counts as alignment.
_SCANIMAGE = 117637889


class KeptWords:
    """Metadata of TIFF files that a store keeps.

    Parameters
    ----------
    documents : iterable of Document
    """

    def __init__(self, documents: Iterable[Document] = ()) -> None:
        named = {document.name: document for document in documents}
        self._tags = from_documents(named) or Tags()
        self._values = {code: list(self._tags.by_page(code)) for code in self._tags.values}
        self.header = scanimage_header(named)

    def tag(self, directory: int, tag: Tag, value: bytes) -> bool:
        """Whether the store keeps the value of a tag of a directory; directories count through all files."""
        if tag.type_code != self._tags.types.get(tag.code) or directory >= self._tags.pages:
            return False
        return self._values[tag.code][directory] == (value.rstrip(b"\0") if tag.type_code == ASCII else value)


# Tags that only describe how image data become the stored array.
_FORM = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339, 347, 530}
_FORM |= {531, 532, 32997, 32998}
_DESCRIPTION = 270


@dataclass
class Account:
    """Classification of all bytes of a file.

    Attributes
    ----------
    pixels : int
        Samples of all images.
    page_pixels : int
        Samples of one page.
    lost : Counter of str
        Content that is neither image data nor in the store, with its number of bytes.
    hidden : (int, int)
        First byte of the pages that have no directory, and their number.
    directories : int
        Number of directories.
    harmless : set of bytes
        Values of tags of the first page that are no loss. tifffile repeats them, unused, at other pages.
    """

    pixels: int = 0
    page_pixels: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    hidden: tuple[int, int] = (0, 0)
    directories: int = 0
    harmless: set[bytes] = field(default_factory=set)


@dataclass(frozen=True)
class _SourceFile:
    """File of a source, the classification of its bytes, and its state before the encode."""

    path: Path
    account: Account
    state: tuple[int, ...]


class Deletable:
    """Source whose files hold nothing that the store will not hold.

    Parameters
    ----------
    source : Source

    Raises
    ------
    InvalidInputError
        A file is a link, or holds more than the movie; the message names what would be lost.
    """

    def __init__(self, source: Source) -> None:
        paths = [Path(name) for name in getattr(source, "files", ()) or (source.name,)]
        self.name = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more files"
        for path in paths:
            if not path.is_file() or path.suffix.lower() not in (".npy", *_TIFF):
                raise InvalidInputError(
                    f"{path}: only .npy and TIFF files are deleted after encoding; others may hold more than "
                    "this movie: delete it by hand"
                )
        for why in (lost_note(source.lost), source.truncation):
            if why is not None:
                raise InvalidInputError(f"{self.name} is not deleted: {why}. Leave out delete_source")
        for path in paths:
            _refuse_links(path)
        self._dtype = source.dtype
        self._files = _accounts(paths, KeptWords(source.recording.documents))
        _refuse_losses(self.name, self._files, math.prod(source.shape))
        self._page_pixels = self._files[0].account.page_pixels
        self._seen: Counter[int] = Counter()
        self._lock = threading.Lock()

    def seen_by(self, check: Callable[..., None]) -> Callable[..., None]:
        """Extend the check of a chunk, so that it records the pages that it compared."""

        def checked(name: str, start: int, data: bytes, values: NDArray) -> None:
            check(name, start, data, values)
            pages = np.ascontiguousarray(values).reshape(-1, self._page_pixels)
            counts = Counter(crc32(page) for page in pages)
            with self._lock:
                self._seen.update(counts)

        return checked

    def delete(self, storage: Storage) -> None:
        """Delete the source once the finished movie has passed verification and covers all its pages."""
        from photon_gpu.check.integrity.verify import verify

        verification = verify(storage)
        if not verification.ok:
            raise CorruptDataError(f"{self.name} was kept: {verification.problems[0]}")
        self._refuse_changed()
        self._compare_words(storage)
        self._compare_pages()
        self._refuse_changed()
        for number, file in enumerate(self._files):
            try:
                os.remove(file.path)  # noqa: PTH107 - says what it does
            except OSError as error:
                raise CorruptDataError(
                    f"{file.path} cannot be deleted ({error.strerror}); {number} of {len(self._files)} files "
                    "were. The movie is whole: delete the others by hand"
                ) from error

    def _refuse_changed(self) -> None:
        for file in self._files:
            if _state(file.path) != file.state:
                raise CorruptDataError(f"{file.path} was kept: it changed while it was being encoded")

    def _compare_words(self, storage: Storage) -> None:
        """Compare the metadata of the files with the metadata in the store."""
        try:
            stored = source_metadata.unpack(storage.read(source_metadata.NAME), storage.url).documents
        except FileNotFoundError:
            stored = ()
        for file in _accounts([file.path for file in self._files], KeptWords(stored)):
            if file.account.lost:
                raise CorruptDataError(
                    f"{file.path} was kept: the store has another {next(iter(file.account.lost))} than it"
                )

    def _compare_pages(self) -> None:
        left = self._seen.copy()
        for file in self._files:
            try:
                for number, page in enumerate(self._pages(file)):
                    crc = crc32(np.ascontiguousarray(page, self._dtype))
                    left[crc] -= 1
                    if left[crc] < 0:
                        raise CorruptDataError(
                            f"{file.path} was kept: its page {number} is not among the frames stored"
                        )
            except (ValueError, IndexError, OSError) as error:
                if isinstance(error, CorruptDataError):
                    raise
                raise CorruptDataError(f"{file.path} was kept: it cannot be read again: {error}") from error
        if missing := left.total():
            raise CorruptDataError(
                f"{self.name}: kept: the movie has {missing} pages that are not in these files"
            )

    def _pages(self, file: _SourceFile) -> Iterator[NDArray[Any]]:
        if file.path.suffix.lower() == ".npy":
            mapped = np.load(file.path, mmap_mode="r", allow_pickle=False)
            if not mapped.flags.c_contiguous:
                yield from mapped
                return
            frame = mapped[0]
            for number in range(len(mapped)):  # a map of a file that is cut off would end the process
                at = mapped.offset + number * frame.nbytes
                yield np.fromfile(file.path, frame.dtype, frame.size, offset=at).reshape(frame.shape)
            return
        import tifffile

        # tifffile guesses the pages of ScanImage files, and may leave out the last one.
        with tifffile.TiffFile(file.path, is_scanimage=False) as tif:
            for page in tif.pages:
                # The axis of samples follows the width in the file and precedes the height in a movie.
                yield np.moveaxis(page.asarray().reshape(page.shaped), -1, 1)
            shape = tif.pages.first.shaped
            stored = self._dtype.newbyteorder(tif.byteorder)
        start, pages = file.account.hidden
        with file.path.open("rb") as opened:
            opened.seek(start)
            for _ in range(pages):
                frame = np.fromfile(opened, stored, file.account.page_pixels).reshape(shape)
                yield np.moveaxis(frame, -1, 1)


def _state(path: Path) -> tuple[int, ...]:
    """Facts about a file that differ after any change to it."""
    now = path.lstat()
    return now.st_ino, now.st_size, now.st_mtime_ns, now.st_nlink


def _accounts(paths: list[Path], words: KeptWords) -> list[_SourceFile]:
    """Classify the bytes of each file, given the metadata that the store keeps."""
    files, directories = [], 0
    for path in paths:
        state = _state(path)
        if path.suffix.lower() == ".npy":
            account = account_npy(path)
        else:
            account = account_tiff(path, words, first_directory=directories)
        directories += account.directories
        files.append(_SourceFile(path, account, state))
    return files


def drop_source(goes: Deletable, source: Source, storage: Storage, lines: tuple[ReportLine, ...]) -> str:
    """Delete the source, or return why it was not deleted."""
    failed = [line.name for line in lines if line.status == "FAIL"]
    if failed:
        warnings.warn(
            f"{goes.name} was kept: the check fails on {', '.join(failed)}", PhotonWarning, stacklevel=3
        )
        return f"{goes.name} was kept: the check fails on {', '.join(failed)}"
    source.close()
    goes.delete(storage)
    return (
        f"deleted {goes.name}: every byte was image data, structure or kept metadata, every page was "
        f"compared with "
        "the movie, and the finished movie verified"
    )


def account_npy(path: Path) -> Account:
    """Classify the bytes of a ``.npy`` file: one array, and the bytes after it."""
    from numpy.lib import format as npy_format

    with path.open("rb") as file:
        version = npy_format.read_magic(file)
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = read(file)
        rest = path.stat().st_size - file.tell() - math.prod(shape) * dtype.itemsize
    account = Account(pixels=math.prod(shape), page_pixels=math.prod(shape[1:]))
    if rest:
        account.lost["data after the array"] = rest
    return account


def account_tiff(path: Path, words: KeptWords | None = None, first_directory: int = 0) -> Account:
    """Classify every byte of a TIFF file.

    Parameters
    ----------
    path : Path
    kept : KeptWords, optional
        Metadata of the file that the store keeps. Default: none.
    first_directory : int
        Number of its first directory, if the metadata of several files are kept.
    """
    account, words = Account(), words or KeptWords()
    with RawFile(path) as file:
        tiff = TiffBytes(file)
        pages = [
            _page(tiff, directory, account, words, first_directory + number)
            for number, directory in enumerate(tiff.directories())
        ]
        account.directories = len(pages)
        gaps = tiff.unclaimed()
        account.page_pixels = pages[0].pixels if pages else 0
        only = pages[0] if len(pages) == 1 else None
        for start, stop in gaps:
            hidden = hidden_pages(only, gaps) if only is not None and start == only.end else 0
            if hidden and only is not None and only.page_nbytes is not None:
                account.hidden = (start, hidden)
                account.pixels += hidden * only.pixels
                start += hidden * only.page_nbytes
            _gap(file, start, stop, pages, account, words.header)
    return account


def _page(
    tiff: TiffBytes, directory: Directory, account: Account, words: KeptWords, number: int
) -> Directory:
    import tifffile

    account.pixels += directory.pixels
    for code, tag in directory.tags.items():
        if code in _FORM or _says_nothing(tiff, tag) or words.tag(number, tag, tiff.value(tag, tag.nbytes)):
            if directory.number == 0 and tag.start is not None:
                account.harmless.add(tiff.value(tag))
            continue
        name = (
            _description(tiff.value(tag))
            if code == _DESCRIPTION
            else tifffile.TIFF.TAGS.get(code, f"tag {code}")
        )
        account.lost[name] += tag.nbytes
    # Tens of thousands of pages share one form, so do not hold their tags in memory.
    return Directory(directory.number, {}, directory.pixels, directory.page_nbytes, directory.end)


def _says_nothing(tiff: TiffBytes, tag: Tag) -> bool:
    """Whether a tag has the value that writers use as a default."""
    return says_nothing(tag.code, tiff.value(tag), tiff.order)


def _description(value: bytes) -> str:
    if b"<OME" in value or b":OME" in value:
        return "ImageDescription (OME-XML)"
    if value.startswith(b"ImageJ="):
        return "ImageDescription (ImageJ)"
    if b"frameTimestamps" in value or b"frameNumbers" in value or b"scanimage." in value:
        return "ImageDescription (ScanImage)"
    return "ImageDescription"


def _gap(
    file: RawFile, start: int, stop: int, pages: list[Directory], account: Account, header: bytes
) -> None:
    """Classify bytes that nothing points to: alignment, a header that is kept, or a loss."""
    if header and start == 16 and bytes(file.read(start, min(len(header), stop - start))) == header:
        start += len(header)
    page_nbytes = pages[0].page_nbytes if pages else None
    if stop - start < min(_PADDING, page_nbytes or _PADDING):
        data = bytes(file.read(start, stop - start))
        for value in account.harmless:
            data = data.replace(value, b"")
        if not any(data):
            return
    magic = _SCANIMAGE.to_bytes(4, "little")
    if start in (8, 16) and bytes(file.read(start, min(4, stop - start))) == magic:
        account.lost["ScanImage header"] += stop - start
    else:
        account.lost[f"data from byte {start:,} on that no directory points to"] += stop - start


def _refuse_links(path: Path) -> None:
    if path.is_symlink():
        raise InvalidInputError(
            f"{path} is a symbolic link to {path.resolve()}: deleting it would leave the data there; "
            f"encode the "
            "file itself, or delete both by hand"
        )
    if (names := path.stat().st_nlink) > 1:
        raise InvalidInputError(
            f"{path} has {names} names (hard links): deleting one would leave the data under the "
            f"others; delete "
            "them by hand"
        )


def _refuse_losses(name: str, files: list[_SourceFile], stored: int) -> None:
    for file in files:
        if lost := file.account.lost:
            listed = [f"{content} ({nbytes:,} bytes)" for content, nbytes in lost.most_common(_NAMED)]
            more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
            raise InvalidInputError(
                f"{file.path} is not deleted: the store does not keep its {', '.join(listed)}{more}. Leave "
                "out delete_source, and delete it by hand if none of this is needed"
            )
    page_pixels = max(files[0].account.page_pixels, 1)
    if any(file.account.page_pixels != files[0].account.page_pixels for file in files):
        raise InvalidInputError(f"{name} is not deleted: its files have pages of several sizes")
    pixels = sum(file.account.pixels for file in files)
    if pixels == stored:
        return
    images, movie = pixels / page_pixels, stored / page_pixels
    content = (
        f"it holds {images:g} pages and more than this movie, which has {movie:g}"
        if pixels > stored
        else f"it holds {images:g} of the movie's {movie:g} pages, and is one file of several"
    )
    raise InvalidInputError(f"{name} is not deleted: {content}. Leave out delete_source, and delete by hand")
