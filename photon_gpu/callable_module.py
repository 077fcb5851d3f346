"""Lets ``photon_gpu.verify(...)`` work although the module has the name of its function."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class CallableModule(ModuleType):
    """A module that, when called, calls the function of its own name."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function."""
        return getattr(self, self.__name__.rpartition(".")[2])(*arguments, **named)


def make_callable(name: str) -> None:
    """Make the module ``name`` (its ``__name__``) callable."""
    sys.modules[name].__class__ = CallableModule
