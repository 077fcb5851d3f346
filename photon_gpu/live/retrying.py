"""Trying again: with jittered backoff, until it works or is told to stop."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TypeVar

from photon_gpu.errors import RecordingError

Result = TypeVar("Result")

_FIRST_SECONDS, _MOST_SECONDS = 0.05, 15.0
_SECRETS = re.compile(
    r"(?i)(//[^/\s:@]+:)[^/\s@]+(?=@)"
    r"|((?:secret|token|password|passwd|signature|credential|authorization|access[_-]?key(?:[_-]?id)?|\bkey)"
    r"[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;)]+"
)


def again(
    action: Callable[[], Result], stopping: threading.Event, on_failure: Callable[[Exception], None]
) -> Result:
    """What ``action`` returns, once it does.

    Anything but a :class:`RecordingError` is tried again: a store that answers 403 or 404 during a
    recording may answer otherwise once a token is renewed or a bucket is back. Waits are drawn at
    random below an exponential bound ("full jitter": Brooker, *Exponential Backoff And Jitter*, 2015).
    """
    import tenacity

    def failed(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Exception):
            on_failure(error)

    attempts = tenacity.Retrying(
        wait=tenacity.wait_random_exponential(multiplier=_FIRST_SECONDS, max=_MOST_SECONDS),
        sleep=tenacity.nap.sleep_using_event(stopping),
        stop=tenacity.stop_when_event_set(stopping),
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, Exception) and not isinstance(error, RecordingError)
        ),
        after=failed,
        reraise=True,
    )
    return attempts(action)


def told(error: BaseException) -> str:
    """An error in words, without what looks like a credential."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _SECRETS.sub(lambda match: (match[1] or match[2]) + "***", text)[:500]
