"""Import the libraries of extras; if one is missing, raise an error that says what to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from photon_gpu.errors import InvalidInputError


def load(module: str, extra: str, name: str) -> Any:
    """Import a module of an extra.

    Parameters
    ----------
    module : str
        Full name, such as ``"astropy.io.fits"``.
    extra : str
        Extra of photon_gpu that installs it.
    name : str
        File that needs it, in the message.

    Raises
    ------
    InvalidInputError
        It is not installed.

    Examples
    --------
    >>> load("no_such_module", "fits", "x.fits")
    Traceback (most recent call last):
        ...
    photon_gpu.errors.InvalidInputError: x.fits: no_such_module is needed to read it: pip install \
"photon-gpu[fits]"
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise InvalidInputError(
            f'{name}: {package} is needed to read it: pip install "photon-gpu[{extra}]"'
        ) from error
