"""The decoder in one file, which a store may hold: ``photon-gpu encode --with-decoder``."""

from pathlib import Path


def program() -> bytes:
    """Return the bytes of ``photon_decode.py``."""
    return Path(__file__).with_name("photon_decode.py").read_bytes()
