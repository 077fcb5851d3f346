"""Retry an action with jittered backoff until it succeeds or must stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from photon_gpu.errors import RecordingError
from photon_gpu.logger import logger
from photon_gpu.redact_credentials import without_credentials

Result = TypeVar("Result")

_FIRST_SECONDS, _MOST_SECONDS, _HURRIED_SECONDS = 0.05, 15.0, 1.0


class Patience:
    """Decides how long to wait between attempts, and when to stop.

    Attributes
    ----------
    stopping : threading.Event
        Set it to stop retrying; the last error is then raised.
    most_seconds : float
        Longest wait between two attempts.
    """

    def __init__(self, most_seconds: float = _MOST_SECONDS) -> None:
        self.stopping = threading.Event()
        self.most_seconds = most_seconds

    def hurry(self) -> None:
        """Shorten all further waits, because a caller waits for the end."""
        self.most_seconds = min(self.most_seconds, _HURRIED_SECONDS)

    def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``, or for the longest wait that is currently allowed."""
        until = monotonic() + seconds
        began = monotonic()
        while (rest := min(until, began + self.most_seconds) - monotonic()) > 0:
            if self.stopping.wait(min(rest, 0.1)):
                return


def again(
    action: Callable[[], Result], patience: Patience, on_failure: Callable[[Exception], None]
) -> Result:
    """Repeat ``action`` until it succeeds, and return its result.

    All errors except :class:`RecordingError` are retried: a store that answers 403 or 404 during a
    recording may accept requests once a token is renewed or a bucket is back. Waits are drawn at
    random below an exponential bound ("full jitter": Brooker, *Exponential Backoff And Jitter*, 2015).
    """
    import tenacity

    def failed(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Exception):
            logger.warning("attempt %d failed, trying again: %s", state.attempt_number, error_text(error))
            on_failure(error)

    attempts = tenacity.Retrying(
        wait=tenacity.wait_random_exponential(multiplier=_FIRST_SECONDS, max=patience.most_seconds),
        sleep=patience.sleep,
        stop=tenacity.stop_when_event_set(patience.stopping),
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, Exception) and not isinstance(error, RecordingError)
        ),
        after=failed,
        reraise=True,
    )
    return attempts(action)


def error_text(error: BaseException) -> str:
    """Return an error as text, with credentials hidden."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return without_credentials(text)[:500]
