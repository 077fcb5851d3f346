"""The photon filter for Zarr v2, which numcodecs finds by its entry point.

If photon_gpu is installed, ``zarr.open`` of a compact movie returns its counts, also in a process that does
not import photon_gpu itself.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_ndarray, ndarray_copy
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc import MAX_BYTES
from photon_gpu.engine.codec.encoding import Encoding, filter_config
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.layouts.channel_payloads import read_table
from photon_gpu.engine.model.clipping_levels import ClippingLevels
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import CorruptDataError, InvalidInputError, UnsupportedTypeError
from photon_gpu.plugins.libphoton import libphoton


class _BoundedDecode:
    """The method ``decode(buf, out=None)`` of a codec, bounded by the chunk of the Zarr array that reads.

    Zarr's reader of v2 arrays hands a filter the payload and no shape, so a small file could open to
    gigabytes in a small array. It calls the method in another thread, but takes it from the codec in the
    frame that has the specification of the chunk.
    """

    def __get__(self, codec: Photon | None, owner: type[Photon]) -> Callable[..., NDArray]:
        if codec is None:
            return owner.decode_chunk
        spec = sys._getframe(1).f_locals.get("chunk_spec")
        return partial(codec.decode_chunk, most=None if spec is None else math.prod(spec.shape))


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
    clipping_levels : dict, optional
        ``low`` and ``high``, or one of them: values that decode exactly, since a detector piles them up.
    peaks : int
        Number of photon peaks with bins of their own, for the dark; 0: none.
    channels : list of dict, optional
        If each channel has its own noise model: ``gain``, ``offset``, ``variance``, ``exact``, ``predictor``
        ``clipping_levels`` and ``peaks`` of each, instead of the parameters above.
    channel_axis : int
        Axis of the channels in the array. A chunk holds all channels.

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
        clipping_levels: dict[str, int] | None = None,
        peaks: int = 0,
        channels: list[dict[str, Any]] | None = None,
        channel_axis: int = 1,
    ) -> None:
        shared: dict[str, Any] = {"layout": "compact", "dtype": dtype, "step": step, "dither": dither}
        if channels is None:
            one = _model(gain, offset, variance, exact, predictor, clipping_levels, peaks)
            self.encoding = Encoding(**shared, **one)
        else:
            models = tuple(Encoding(**shared, **_model(**channel)) for channel in channels)
            self.encoding = Encoding(**shared, channels=models, channel_axis=channel_axis)

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
                "a chunk is in Fortran order, and its values would come back in another order: create the "
                "array with order='C'"
            )
        native = values.astype(self.encoding.dtype, copy=False)
        return _engine().encode(native, self.encoding)

    decode = _BoundedDecode()

    def decode_chunk(self, buf: Any, out: Any = None, *, most: int | None = None) -> NDArray:
        """Decode a payload to values in the shape of their chunk, at most ``most`` values."""
        payload = np.frombuffer(ensure_ndarray(buf).reshape(-1).view(np.uint8), np.uint8)
        dtype = np.dtype(self.encoding.dtype)
        decoder = libphoton() or _engine()
        parts, shape = self._parts(payload, decoder)
        nbytes = math.prod(shape) * dtype.itemsize
        if out is not None:
            most = ensure_ndarray(out).nbytes // dtype.itemsize
        limit = MAX_BYTES if most is None else min(MAX_BYTES, most * dtype.itemsize)
        if nbytes > limit:
            raise CorruptDataError(
                f"a chunk of shape {shape} would take {nbytes:,} bytes; the limit is {limit:,}"
            )
        values = [decoder.decode(one, of_one, encoding) for one, of_one, encoding in parts]
        whole = np.stack(values, self.encoding.channel_axis) if self.encoding.channels else values[0]
        return np.asarray(ndarray_copy(whole, out))

    def _parts(
        self, payload: NDArray[np.uint8], decoder: Any
    ) -> tuple[list[tuple[NDArray[np.uint8], tuple[int, ...], Encoding]], tuple[int, ...]]:
        """Payload, shape and encoding of each channel, and the shape of the chunk."""
        channels = self.encoding.channels
        if not channels:
            shape = decoder.shape_of(payload)
            return [(payload, shape, self.encoding)], shape
        spans = read_table(payload).spans
        if len(spans) != len(channels):
            raise CorruptDataError(f"a chunk holds {len(spans)} channels; this filter has {len(channels)}")
        parts = [payload[span] for span in spans]
        shapes = [decoder.shape_of(part) for part in parts]
        axis, one = self.encoding.channel_axis, shapes[0]
        if len(set(shapes)) > 1 or axis > len(one) - 2:
            raise CorruptDataError(
                f"the channels of a chunk have shapes {shapes}; one shape is needed for all"
            )
        whole = (*one[:axis], len(channels), *one[axis:])
        return [(part, one, encoding) for part, encoding in zip(parts, channels, strict=True)], whole

    def get_config(self) -> dict[str, Any]:
        """Configuration that can be written as JSON, for ``Codec.from_config``."""
        return filter_config(self.encoding)

    def __repr__(self) -> str:
        if channels := self.encoding.channels:
            return f"Photon({len(channels)} channels, step={self.encoding.step})"
        noise = self.encoding.noise
        return f"Photon({noise}, step={self.encoding.step}, predictor={self.encoding.predictor.name!r})"


def _engine() -> Any:
    """Load the engine when it is first needed: where there is no Numba, libphoton decodes."""
    return import_module("photon_gpu.plugins.engine_payloads")


def _model(
    gain: float = 1.0,
    offset: float = 0.0,
    variance: float = 0.0,
    exact: bool = False,
    predictor: str | dict[str, Any] = "mean",
    clipping_levels: dict[str, int] | None = None,
    peaks: int = 0,
) -> dict[str, Any]:
    chosen = Predictor(name=predictor) if isinstance(predictor, str) else Predictor.from_dict(predictor)
    noise = NoiseModel(gain=gain, offset=offset, variance=variance)
    clipping = ClippingLevels.from_dict(clipping_levels)
    return {"noise": noise, "exact": exact, "predictor": chosen, "clipping": clipping, "peaks": peaks}
