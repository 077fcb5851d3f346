"""Count hostile inputs that were tried and survived, by class; a test run prints them at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

TRIED: Counter[str] = Counter()
SURVIVED: Counter[str] = Counter()


def count(name: str, tried: int, survived: int) -> None:
    """Add to a class's counts."""
    TRIED[name] += tried
    SURVIVED[name] += survived


@contextmanager
def counted(name: str) -> Iterator[None]:
    """Count one try, which survived if the block raises nothing."""
    count(name, 1, 0)
    yield
    count(name, 0, 1)


def lines() -> list[str]:
    """Return a line for each class."""
    return [f"{name}: {TRIED[name]:,} tried, {SURVIVED[name]:,} survived" for name in sorted(TRIED)]
