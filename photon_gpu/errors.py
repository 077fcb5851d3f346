"""Errors and warnings of photon_gpu.

Every error derives from :class:`PhotonError` and from the built-in exception that a caller would expect, so
``except ValueError`` keeps working. A message says what arrived, what is allowed, and what to do.
"""

from __future__ import annotations

import queue
import re
import sys
from typing import Any

from photon_gpu.logger import logger
from photon_gpu.redact_credentials import mask_error, masked_arguments


class PhotonError(Exception):
    """Base class of all errors of photon_gpu.

    Credentials are hidden in its message, and in that of the error that it replaces.

    Examples
    --------
    >>> print(PhotonError("https://me:hunter2@host/run.zarr is not there"))
    https://me:***@host/run.zarr is not there
    """

    def __init__(self, *args: Any) -> None:
        cause = sys.exc_info()[1]
        mask_error(cause)  # a traceback prints it
        super().__init__(*(_shortened(arg, cause) for arg in masked_arguments(args)))


_LONG_WORD = re.compile(r"\S{600,}")
_LONGEST = 300  # characters of a message
_SHORTEST_CAUSE = 90  # characters that stay of the text of the error that is replaced


def _shortened(value: Any, cause: BaseException | None) -> Any:
    """Shorten a message, so that no value and no text of the error that it replaces fills pages."""
    if not isinstance(value, str):
        return value
    text = _LONG_WORD.sub(lambda word: f"{word[0][:60]}...", value)
    quoted = str(cause) if cause is not None and len(text) > _LONGEST else ""
    if not quoted or quoted not in text:
        return text
    before, _, after = text.partition(quoted)
    return quoting(before, quoted, after)


def quoting(before: str, cause: object, after: str = "") -> str:
    """Return a message that quotes another error, cut in its middle if the message gets too long.

    At least 93 characters of the quoted text stay, and among them its end, which may be a remedy.

    >>> quoting("s3://lab/run7: ", "no answer, " * 40 + "try again", "; 6 frames are lost")[-61:]
    'no answer, no answer, no answer, try again; 6 frames are lost'
    """
    text = str(cause)
    room = max(_LONGEST - len(before) - len(after) - 3, _SHORTEST_CAUSE)
    if room < len(text):
        end = room // 3
        text = f"{text[: room - end]}...{text[-end:]}"
    return f"{before}{text}{after}"


class InvalidInputError(PhotonError, ValueError):
    """A value, a shape or a parameter is not allowed, or cannot be encoded as requested."""


class InvalidIndexError(InvalidInputError, IndexError):
    """An index is outside the movie, or is not a valid index of an array."""


class NoiseContradictionError(InvalidInputError):
    """The movie's own noise contradicts the stated noise model; ``trust_noise=True`` overrides this."""


class UnsupportedTypeError(PhotonError, TypeError):
    """The dtype or the type of an object is not that of a movie."""


class StoreExistsError(PhotonError, FileExistsError):
    """The destination already holds data, and ``overwrite`` is not set."""


class StoreNotFoundError(PhotonError, FileNotFoundError):
    """There is no movie at this path or URL."""


class CorruptDataError(PhotonError, OSError):
    """Bytes of a movie or a source are missing, truncated, altered or inconsistent."""


class ArchivedError(PhotonError, PermissionError):
    """The bytes are in an archive storage class and must be restored before they can be read."""


class UnsupportedVersionError(PhotonError, ValueError):
    """The store has a format version that this release does not know."""


class BackendUnavailableError(PhotonError, RuntimeError):
    """The requested backend cannot run here; the message says what to install."""


def missing_package(error: ImportError) -> BackendUnavailableError:
    """Return the error that says what to install, for a module that cannot be imported.

    Examples
    --------
    >>> print(missing_package(ModuleNotFoundError("no numba", name="numba")))
    photon_gpu cannot load what it needs (no numba): pip install numba; photon-gpu doctor shows more
    """
    package = (error.name or "").partition(".")[0]
    if package in ("", "photon_gpu"):
        package = "--upgrade photon-gpu"
    return BackendUnavailableError(
        f"photon_gpu cannot load what it needs ({error}): pip install {package}; photon-gpu doctor shows more"
    )


class QueueFullError(PhotonError, queue.Full):
    """The queue of a live writer that does not wait is full; no frame of this append was accepted."""


class StoreUnavailableError(PhotonError, OSError):
    """The store refuses or does not answer; a recording raises this once it stops retrying."""


class RecordingError(PhotonError, RuntimeError):
    """A recording cannot continue; the message says which frames are safe, and where."""


class BatchError(PhotonError, RuntimeError):
    """Some movies could not be stored; ``report`` has a line for every movie."""

    def __init__(self, message: str, report: object = None) -> None:
        super().__init__(message)
        self.report = report


class PhotonWarning(UserWarning):
    """Warning about the data or the result, which the owner of the data should read.

    Credentials are hidden in its text. The logger ``photon_gpu`` has a line for each.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*masked_arguments(args))
        logger.warning("%s: %s", type(self).__name__, self)


class FidelityWarning(PhotonWarning):
    """A movie failed the check during storing; its ``.zattrs`` record this.

    ``warnings.filterwarnings("error", category=photon_gpu.FidelityWarning)`` makes it an error. Then
    :func:`photon_gpu.encode` and DataJoint's insert keep nothing of the movie. A recording, whose frames
    exist nowhere else, is kept and marked as failing.
    """
