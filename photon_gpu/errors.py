"""Every error photon_gpu raises, one class per kind.

All derive from :class:`PhotonError` and from the built-in exception a caller
would expect, so ``except ValueError`` keeps working. Messages say what
arrived, what is allowed, and what to do.
"""

from __future__ import annotations

import queue


class PhotonError(Exception):
    """Base of every error raised on purpose by photon_gpu."""


class InvalidInputError(PhotonError, ValueError):
    """A value, shape or parameter that cannot be encoded as asked."""


class InvalidIndexError(InvalidInputError, IndexError):
    """An index that a movie, as the array that it is, does not have."""


class NoiseContradictionError(InvalidInputError):
    """The movie's own noise contradicts the stated noise model; ``trust_noise=True`` overrides this."""


class UnsupportedTypeError(PhotonError, TypeError):
    """A dtype or object kind that is not a photon-limited movie."""


class StoreExistsError(PhotonError, FileExistsError):
    """The destination already holds something and ``overwrite`` was not given."""


class StoreNotFoundError(PhotonError, FileNotFoundError):
    """Nothing that opens as a movie lies at the given place."""


class CorruptDataError(PhotonError, OSError):
    """Stored or source bytes are missing, truncated, altered or inconsistent."""


class ArchivedError(PhotonError, PermissionError):
    """The bytes lie in an archive storage class and must be restored before they can be read."""


class UnsupportedVersionError(PhotonError, ValueError):
    """The store was written by a format this release does not know."""


class BackendUnavailableError(PhotonError, RuntimeError):
    """A backend was named that cannot run here; the message says what to install."""


class QueueFullError(PhotonError, queue.Full):
    """A live writer was told to raise rather than to wait, and no frame of this append was taken."""


class StoreUnavailableError(PhotonError, OSError):
    """The store does not answer, or refused; in a recording, for so long that it was given up for now."""


class RecordingError(PhotonError, RuntimeError):
    """A recording cannot go on; the message says which frames are safe, and where."""


class BatchError(PhotonError, RuntimeError):
    """Some of many movies could not be stored; ``report`` has one line for each, stored or not."""

    def __init__(self, message: str, report: object = None) -> None:
        super().__init__(message)
        self.report = report


class PhotonWarning(UserWarning):
    """Something happened that the owner of the data should know."""


class FidelityWarning(PhotonWarning):
    """A movie fails the check that was made while it was stored; its ``.zattrs`` say so.

    ``warnings.filterwarnings("error", category=photon_gpu.FidelityWarning)`` makes it an error: then
    :func:`photon_gpu.encode` and DataJoint's insert keep nothing of the movie, and a recording, whose frames
    exist nowhere else, is kept, marked as failing.
    """
