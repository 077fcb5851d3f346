"""Properties that are computed once, without a lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class lazy_property(Generic[T]):
    """Compute an attribute on first use and keep it with the instance.

    ``functools.cached_property`` of Python 3.11 and older holds one lock per class while it computes. A
    process that forks while another thread computes copies the lock as held, and the child hangs. Here two
    threads may compute the same value; the later one is kept.

    Examples
    --------
    >>> class Sample:
    ...     @lazy_property
    ...     def mean(self):
    ...         print("computing")
    ...         return 3.5
    >>> sample = Sample()
    >>> sample.mean, sample.mean
    computing
    (3.5, 3.5)
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> lazy_property[T]: ...

    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...

    def __get__(self, instance: object | None, owner: type | None = None) -> lazy_property[T] | T:
        if instance is None:
            return self
        # From now on Python finds the attribute of the instance before this descriptor.
        value = instance.__dict__[self._name] = self._compute(instance)
        return value
