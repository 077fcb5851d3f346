"""The photon filter for Zarr v2, which numcodecs finds by its entry point.

If photon_gpu is installed, ``zarr.open`` of a compact movie returns its counts, also in a process that does
not import photon_gpu itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_ndarray, ndarray_copy
from numpy.typing import NDArray

from photon_gpu.engine.codec import chunk as coder
from photon_gpu.engine.codec.blosc import MAX_BYTES
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.header import unpack
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.dispatch import get_backend
from photon_gpu.engine.layouts.compact import filter_config
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import CorruptDataError, InvalidInputError, UnsupportedTypeError


class Photon(Codec):
    """Encodes chunks of values to quantized, predicted codes, and decodes them.

    Parameters
    ----------
    gain, offset, variance : float
        Noise model, ADU/photon, ADU, ADU^2.
    step : float
        Quantization step, sigma.
    dtype : str
        Dtype of the values; encoding refuses any other.
    dither : int, optional
        Seed of the subtractive dither. None: no dither.
    exact : bool
        Whether integer values are stored exactly, and only predicted.
    predictor : str or dict
        Name of a predictor, or the dictionary of a :class:`photon_gpu.Predictor`.

    Examples
    --------
    >>> import numpy as np, zarr
    >>> movie = np.random.default_rng(0).poisson(30, (20, 16, 16)).astype("uint16")
    >>> array = zarr.create_array({}, shape=movie.shape, chunks=(10, 16, 16), dtype="uint16", zarr_format=2,
    ...                           filters=[Photon(dtype="uint16")], fill_value=None)
    >>> array[:] = movie
    >>> bool(abs(array[:].astype(int) - movie).max() <= 3)
    True
    """

    codec_id = "photon"

    def __init__(
        self,
        gain: float = 1.0,
        offset: float = 0.0,
        variance: float = 0.0,
        step: float = 0.5,
        dtype: str = "uint16",
        dither: int | None = None,
        exact: bool = False,
        predictor: str | dict[str, Any] = "mean",
    ) -> None:
        chosen = Predictor(name=predictor) if isinstance(predictor, str) else Predictor.from_dict(predictor)
        self.encoding = Encoding(
            layout="compact",
            dtype=dtype,
            noise=NoiseModel(gain=gain, offset=offset, variance=variance),
            step=step,
            dither=dither,
            exact=exact,
            predictor=chosen,
        )

    def encode(self, buf: Any) -> NDArray[np.uint8]:
        """Encode a chunk to its payload."""
        values = ensure_ndarray(buf)
        if values.dtype != self.encoding.dtype:
            raise UnsupportedTypeError(
                f"values are {values.dtype}; this filter was made for {self.encoding.dtype}"
            )
        if values.ndim == 0 or values.size == 0:
            raise InvalidInputError(f"a chunk of shape {values.shape} has nothing to encode")
        if not values.flags.c_contiguous and values.flags.f_contiguous:
            raise InvalidInputError(
                "a chunk in Fortran order: its values would come back in another order; create the "
                "array with order='C'"
            )
        native = values.astype(self.encoding.dtype, copy=False)
        return coder.encode(native, native.shape, self.encoding, get_backend(), stages=Stages())

    def decode(self, buf: Any, out: Any = None) -> NDArray:
        """Decode a payload to values in the shape of their chunk."""
        payload = np.frombuffer(ensure_ndarray(buf).reshape(-1).view(np.uint8), np.uint8)
        header, _ = unpack(payload)
        nbytes = math.prod(header.shape) * np.dtype(self.encoding.dtype).itemsize
        if nbytes > MAX_BYTES:
            raise CorruptDataError(
                f"a chunk of shape {header.shape} would take {nbytes:,} bytes; the limit is {MAX_BYTES:,}"
            )
        values = coder.decode(
            payload, header.shape, self.encoding, get_backend(), what=np.dtype(self.encoding.dtype)
        )
        return np.asarray(ndarray_copy(values, out))

    def get_config(self) -> dict[str, Any]:
        """Configuration that can be written as JSON, for ``Codec.from_config``."""
        return filter_config(self.encoding)

    def __repr__(self) -> str:
        noise = self.encoding.noise
        return f"Photon({noise}, step={self.encoding.step}, predictor={self.encoding.predictor.name!r})"
