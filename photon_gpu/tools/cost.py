"""Estimate the storage cost of movies, raw and stored, by storage class.

Prices are in ``prices.json`` with their date and source. Pass current ones with ``prices=``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from photon_gpu.encode_settings import bounded_number, options_of, shown, whole_number
from photon_gpu.engine.model.code_table import supported_dtype
from photon_gpu.errors import InvalidInputError

#: Bytes of one MB and one GB. Clouds bill ``binary``; ``documented`` mixes both, which makes
#: 1000 x 512 x 512 x 2 bytes "500 MB" and a thousand of them "500 GB".
UNITS = {
    "binary": (2**20, 2**30),
    "decimal": (10**6, 10**9),
    "documented": (2**20, 1000 * 2**20),
}


def load_prices(path: str | PathLike[str] | None = None) -> dict[str, dict[str, Any]]:
    """Load prices by storage class, each with ``price``, ``date`` and ``source``.

    Parameters
    ----------
    path : path, optional
        A JSON file like the packaged ``prices.json``, or simply ``{"STANDARD": 0.023, ...}``.

    Examples
    --------
    >>> load_prices()["STANDARD"]["price"]
    0.023
    """
    text = Path(path).read_text() if path else (files("photon_gpu.tools") / "prices.json").read_text()
    try:
        read = json.loads(text)
        entries = read.get("classes", read)
        return {
            name: entry if isinstance(entry, dict) else {"price": entry} for name, entry in entries.items()
        }
    except (ValueError, AttributeError) as error:
        raise InvalidInputError(
            f"{path} is not a price list ({error}); expected JSON like {{'STANDARD': 0.023}}"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Size and monthly cost of a number of similar movies.

    Parameters
    ----------
    raw_bytes, stored_bytes : int or float
        Bytes of one movie.
    movies : int
        Number of movies.
    units : str
        A key of :data:`UNITS`.
    prices : mapping
        Storage class to price per GB and month, or to an entry of :func:`load_prices`.
    measured : str
        Origin of ``stored_bytes``, for the report.

    Examples
    --------
    The documented example:

    >>> cost = Cost(raw_bytes=500 * 2**20, stored_bytes=125 * 2**20, movies=1000, units="documented")
    >>> print(cost.text())  # doctest: +ELLIPSIS
    1000 movies           per movie      total  STANDARD/month ...
    raw                      500 MB     500 GB          $11.50 ...
    stored                   125 MB     125 GB           $2.88 ...
    saved (75%)              375 MB     375 GB           $8.62 ...
    """

    raw_bytes: float
    stored_bytes: float
    movies: int = 1
    units: str = "binary"
    prices: Mapping[str, Any] = field(default_factory=load_prices)
    measured: str = "given"

    def __post_init__(self) -> None:
        if self.units not in UNITS:
            raise InvalidInputError(
                f"units={self.units!r} is not known; allowed: {', '.join(map(repr, UNITS))}"
            )
        if not (self.raw_bytes > 0 and self.stored_bytes > 0 and self.movies >= 1):
            raise InvalidInputError(
                f"raw_bytes={self.raw_bytes}, stored_bytes={self.stored_bytes}, movies={self.movies}: "
                "sizes must be above 0 and movies at least 1"
            )
        for name in self.prices:
            self._price(name)

    @property
    def savings(self) -> float:
        """Share of the raw bytes that is saved; negative if the stored movie is larger."""
        return 1 - self.stored_bytes / self.raw_bytes

    def monthly(self, storage_class: str) -> dict[str, Decimal]:
        """Monthly cost of the raw and the stored movies, and the difference, unrounded."""
        gb = Decimal(UNITS[self.units][1])
        price = self._price(storage_class)
        raw, stored = (
            price * Decimal(size) * self.movies / gb for size in (self.raw_bytes, self.stored_bytes)
        )
        return {"raw": raw, "stored": stored, "saved": raw - stored}

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values; money is rounded to cents, halves to even."""
        mb, gb = UNITS[self.units]
        sizes = {
            "raw": self.raw_bytes,
            "stored": self.stored_bytes,
            "saved": self.raw_bytes - self.stored_bytes,
        }
        return {
            "movies": self.movies,
            "units": self.units,
            "measured": self.measured,
            "savings": self.savings,
            "movie_mb": {name: size / mb for name, size in sizes.items()},
            "total_gb": {name: size * self.movies / gb for name, size in sizes.items()},
            "monthly": {
                name: {part: str(_cents(money)) for part, money in self.monthly(name).items()}
                for name in self.prices
            },
            "prices": {name: str(self._price(name)) for name in self.prices},
        }

    def text(self) -> str:
        """Return the table as text."""
        table = self.to_dict()
        small, large = ("MiB", "GiB") if self.units == "binary" else ("MB", "GB")
        heads = "".join(f"{name + '/month':>{_width(name)}}" for name in self.prices)
        title = f"{self.movies} movie{'s' if self.movies > 1 else ''}"
        lines = [f"{title:<20}{'per movie':>14}{'total':>15}{heads}"]
        for part, label in (("raw", "raw"), ("stored", "stored"), ("saved", f"saved ({self.savings:.0%})")):
            sizes = f"{table['movie_mb'][part]:.4g} {small}", f"{table['total_gb'][part]:.4g} {large}"
            money = "".join(f"{'$' + table['monthly'][name][part]:>{_width(name)}}" for name in self.prices)
            lines.append(f"{label:<20}{sizes[0]:>14}{sizes[1]:>15}{money}")
        return "\n".join(lines)

    def _price(self, storage_class: str) -> Decimal:
        try:
            entry = self.prices[storage_class]
            price = Decimal(str(entry["price"] if isinstance(entry, Mapping) else entry))
        except (KeyError, ArithmeticError) as error:
            raise InvalidInputError(
                f"no price for {storage_class!r}; prices are given for {', '.join(self.prices)}"
            ) from error
        if not price >= 0:
            raise InvalidInputError(f"the price of {storage_class!r} is {price}; it must be 0 or more")
        return price


def from_shape(
    shape: tuple[int, ...], dtype: Any = "uint16", *, savings: float = 0.75, **options: Any
) -> Cost:
    """Estimate the cost of movies of one shape, for a stated share of saved bytes.

    Parameters
    ----------
    shape : tuple of int
        Shape of one movie.
    dtype : dtype-like
        Type of the raw movie.
    savings : float
        Share of the raw bytes that is saved, below 1.
    **options
        As for :class:`Cost`.

    Examples
    --------
    >>> cost = from_shape((1000, 512, 512), movies=1000, units="documented")
    >>> {part: str(round(money, 2)) for part, money in cost.monthly("STANDARD").items()}
    {'raw': '11.50', 'stored': '2.88', 'saved': '8.62'}
    """
    savings = bounded_number("savings (0.75: a quarter of the size)", savings, -1e6, 1)
    if savings == 1:
        raise InvalidInputError("savings is 1, so nothing would be stored; a share below 1 is needed")
    if not isinstance(shape, tuple | list):
        raise InvalidInputError(f"shape is {shown(shape)}; a tuple such as (1000, 512, 512) is needed")
    raw = math.prod(whole_number("shape", size, 1) for size in shape) * supported_dtype(dtype).itemsize
    return Cost(raw_bytes=raw, stored_bytes=raw * (1 - savings), **options)


def from_movie(url: Any, *, storage_options: dict[str, Any] | None = None, **options: Any) -> Cost:
    """Estimate the cost of movies like a stored one, from its size.

    Parameters
    ----------
    url : str, path, Storage or Movie
        See :func:`photon_gpu.open`; or an open movie.
    storage_options : dict, optional
        Options of the fsspec file system.
    **options
        As for :class:`Cost`.
    """
    from photon_gpu.reader.movie import Movie
    from photon_gpu.reader.open import open as open_movie

    movie = url if isinstance(url, Movie) else open_movie(url, storage_options=storage_options)
    return Cost(
        **{"raw_bytes": movie.nbytes, "stored_bytes": movie.stored_bytes, "measured": movie.url, **options}
    )


def from_source(
    source: Any, *, frames: int = 100, encode_options: dict[str, Any] | None = None, **options: Any
) -> Cost:
    """Estimate the cost of movies like a source, from a sample that is encoded to memory.

    Parameters
    ----------
    source : array, path, URL or Source
        See :func:`photon_gpu.open_source`.
    frames : int
        Number of frames to encode, from the middle of the movie.
    encode_options : dict, optional
        Options of :func:`photon_gpu.encode`: ``noise``, ``step``, ``layout``, ...
    **options
        As for :class:`Cost`.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> counts = np.random.default_rng(0).poisson(50.0, (300, 64, 64)).astype("uint16")
    >>> cost = from_source(counts, movies=1000, encode_options={"noise": pg.NoiseModel()})
    >>> cost.raw_bytes == counts.nbytes, 0.7 < cost.savings < 0.9
    (True, True)
    """
    import uuid

    from photon_gpu.encode_settings import EncodeSettings
    from photon_gpu.sources.open import open_source
    from photon_gpu.store.storage import Storage
    from photon_gpu.writer.encode import encode_with

    with open_source(source) as movie:
        count = min(whole_number("frames", frames, 1), movie.shape[0])
        start = (movie.shape[0] - count) // 2
        scratch = Storage.at(f"memory://cost-{uuid.uuid4().hex}.zarr")
        try:
            # The sample is deleted again, so it is not checked.
            wanted = options_of("encode_options", encode_options)
            settings = EncodeSettings.from_dict({"check": False, **wanted})
            report = encode_with(settings, movie.read(start, start + count), scratch)
        finally:
            scratch.delete_folder()
        sample = f"frames {start} to {start + count - 1} of {movie.name}"
        size = {"raw_bytes": movie.nbytes, "stored_bytes": movie.nbytes / report.ratio, "measured": sample}
    return Cost(**{**size, **options})


def _cents(money: Decimal) -> Decimal:
    return money.quantize(Decimal("0.01"), ROUND_HALF_EVEN)


def _width(name: str) -> int:
    return max(12, len(name) + 8)
