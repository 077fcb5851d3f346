"""Source of a movie in a FITS file, by astropy."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.recording import Document, Recording
from photon_gpu.sources.base import Source
from photon_gpu.sources.check import check_movie, choose_movie, list_arrays
from photon_gpu.sources.extras.libraries import load


class FitsSource(Source):
    """A movie in an image of a FITS file, read one range of frames at a time.

    Parameters
    ----------
    path : path-like
    hdu : int or str, optional
        Number or name of the image; needed if several are movies.

    Raises
    ------
    InvalidInputError
        There is no such image, or several are movies, or astropy is not installed.
    UnsupportedTypeError
        The dtype is not that of a movie.
    CorruptDataError
        The file is truncated or not FITS.

    Notes
    -----
    Values are scaled as the header says: ``BZERO = 32768`` gives uint16, another scale gives floats.
    """

    def __init__(self, path: Any, *, hdu: int | str | None = None) -> None:
        self.name = str(path)
        fits = load("astropy.io.fits", "fits", self.name)
        self._lock = threading.Lock()
        try:
            self._file = fits.open(path, memmap=False, lazy_load_hdus=False)
        except OSError as error:
            raise CorruptDataError(f"{self.name}: it is truncated or not FITS: {error}") from error
        try:
            self._open(hdu)
        except BaseException:
            self._file.close()
            raise

    def _open(self, hdu: int | str | None) -> None:
        images = {
            str(number): image for number, image in enumerate(self._file) if getattr(image, "is_image", False)
        }
        arrays = {number: (image.shape, _dtype(image)) for number, image in images.items() if image.shape}
        if isinstance(hdu, str) and hdu.strip("/").isdigit():
            hdu = int(hdu.strip("/"))
        if hdu is None:
            hdu = int(choose_movie(arrays, name=self.name, option="hdu"))
        try:
            image = self._file[hdu]
        except (KeyError, IndexError) as error:
            raise InvalidInputError(
                f"{self.name}: there is no image {hdu!r}. It holds: {list_arrays(arrays)}"
            ) from error
        self.name = f"{self.name}::{hdu}"
        self.dtype = check_movie(image.shape, _dtype(image), self.name)
        self.shape = tuple(int(length) for length in image.shape)
        self._image: Any = image
        info = image.fileinfo()
        if info is not None and (size := info["file"].size):
            # FITS pads each span; the size counts uncompressed values.
            needed = info["datLoc"] + min(image.size, info["datSpan"])
            if needed > size:
                raise CorruptDataError(
                    f"{self.name}: the file is truncated: {needed:,} bytes are needed, it has {size:,}"
                )
        header = Document(
            name="header.txt", media_type="text/plain", data=image.header.tostring(sep="\n").encode()
        )
        self.recording = Recording(documents=(header,))

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop``."""
        self._check_frames(start, stop)
        with self._lock:
            if self._image is None:
                raise InvalidInputError(f"{self.name}: the source is closed; open it again")
            try:
                frames = self._image.section[start:stop]
            except (OSError, ValueError, TypeError) as error:
                raise CorruptDataError(
                    f"{self.name}: frames {start}:{stop} cannot be read: {error}"
                ) from error
        frames = np.asarray(frames)
        expected = (stop - start, *self.shape[1:])
        if frames.shape != expected or frames.dtype.newbyteorder("=") != self.dtype:
            raise CorruptDataError(
                f"{self.name}: frames {start}:{stop} are {frames.dtype} {frames.shape}, not {self.dtype} "
                f"{expected}"
            )
        return np.ascontiguousarray(frames, dtype=self.dtype)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._image = None
            self._file.close()


def _dtype(image: Any) -> np.dtype:
    """Dtype of an image's values once they are scaled as its header says."""
    if not image.shape:
        return np.dtype("uint8")
    corner = image.section[tuple(slice(0, 1) for _ in image.shape)]
    return np.asarray(corner).dtype.newbyteorder("=")
