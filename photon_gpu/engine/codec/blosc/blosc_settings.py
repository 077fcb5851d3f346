"""Settings of Blosc, as a store and the user write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from photon_gpu.engine.codec.blosc.frame import MAX_BYTES
from photon_gpu.errors import InvalidInputError

_SHUFFLES = {"none": 0, "byte": 1, "bit": 2, "noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
_NAMES = ("zstd", "lz4", "lz4hc", "zlib", "blosclz")


@dataclass(frozen=True, kw_only=True)
class Compressor:
    """Settings of numcodecs Blosc, as written in ``.zarray``.

    Parameters
    ----------
    cname : {"zstd", "lz4", "lz4hc", "zlib", "blosclz"}
    clevel : int
        0 to 9.
    shuffle : {0, 1, 2}
        0: none, 1: by byte, 2: by bit.
    blocksize : int
        Bytes per block. 0: Blosc chooses, and ``.zarray`` has no such key.

    Examples
    --------
    >>> Compressor.parse("zstd-5-bitshuffle").to_dict()
    {'id': 'blosc', 'cname': 'zstd', 'clevel': 5, 'shuffle': 2}
    """

    cname: str = "zstd"
    clevel: int = 1
    shuffle: int = 1
    blocksize: int = 1 << 20

    def __post_init__(self) -> None:
        if not isinstance(self.cname, str) or self.cname not in _NAMES:
            raise InvalidInputError(f"compressor: cname is {self.cname!r}; allowed are {', '.join(_NAMES)}")
        for name, top in (("clevel", 9), ("shuffle", 2), ("blocksize", MAX_BYTES)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= top:
                raise InvalidInputError(
                    f"compressor: {name} is {value!r}; a whole number 0 to {top} is needed"
                )
        if 0 < self.blocksize < 1024:
            raise InvalidInputError(
                f"compressor: blocksize is {self.blocksize}; 0 (automatic) or at least 1024"
            )

    @property
    def text(self) -> str:
        """Settings as :meth:`parse` reads them."""
        shuffle = ("none", "shuffle", "bitshuffle")[self.shuffle]
        size = f"-{self.blocksize}" if self.blocksize else ""
        return f"{self.cname}-{self.clevel}-{shuffle}{size}"

    def to_dict(self) -> dict[str, Any]:
        """Return the ``compressor`` entry of ``.zarray``."""
        entry: dict[str, Any] = {
            "id": "blosc",
            "cname": self.cname,
            "clevel": self.clevel,
            "shuffle": self.shuffle,
        }
        return {**entry, "blocksize": self.blocksize} if self.blocksize else entry

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Compressor:
        """Read a ``compressor`` entry of ``.zarray``."""
        keys = {"id", "cname", "clevel", "shuffle", "blocksize"}
        if not isinstance(entry, dict) or entry.get("id") != "blosc" or set(entry) - keys:
            raise InvalidInputError(
                f"compressor is {entry!r}; a Blosc entry with cname, clevel, shuffle is needed"
            )
        return cls(**{"blocksize": 0, **{key: value for key, value in entry.items() if key != "id"}})

    @classmethod
    def parse(cls, text: str) -> Compressor:
        """Read ``"zstd-5-bitshuffle"`` or ``"zstd-1-none-1048576"`` (block size optional)."""
        parts = str(text).lower().replace(":", "-").split("-")
        valid = len(parts) in (3, 4) and parts[2] in _SHUFFLES
        if not valid or not all(part.isdecimal() for part in (parts[1], *parts[3:])):
            raise InvalidInputError(
                f"compressor is {text!r}; write NAME-LEVEL-SHUFFLE, as in zstd-5-bitshuffle or zstd-1-none"
            )
        size = int(parts[3]) if len(parts) == 4 else 0
        return cls(cname=parts[0], clevel=int(parts[1]), shuffle=_SHUFFLES[parts[2]], blocksize=size)
