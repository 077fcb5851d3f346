"""The photon codec for Zarr v3: an array-to-bytes codec, alone or inside shards."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from zarr.abc.codec import ArrayBytesCodec

from photon_gpu.errors import InvalidInputError
from photon_gpu.plugins.numcodecs_photon import Photon

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

NAME = "photon_gpu.photon"


@dataclass(frozen=True, init=False)
class PhotonZarr3(ArrayBytesCodec):
    """The photon filter as serializer of a Zarr v3 array. Its parameters are those of :class:`Photon`.

    Examples
    --------
    >>> import numpy as np, zarr
    >>> movie = np.random.default_rng(0).poisson(30, (40, 16, 16)).astype("uint16")
    >>> array = zarr.create_array(
    ...     {}, shape=movie.shape, chunks=(10, 16, 16), shards=(20, 16, 16), dtype="uint16",
    ...     serializer=PhotonZarr3(dtype="uint16"), compressors=zarr.codecs.ZstdCodec(level=1))
    >>> array[:] = movie
    >>> bool(abs(array[5:15].astype(int) - movie[5:15]).max() <= 3)
    True
    """

    codec: Photon
    is_fixed_size = False

    def __init__(self, **parameters: Any) -> None:
        object.__setattr__(self, "codec", Photon(**parameters))

    @classmethod
    def from_dict(cls, data: Any) -> PhotonZarr3:
        """Codec from its entry in ``zarr.json``."""
        if data.get("name") != NAME:
            raise InvalidInputError(f"codec {data.get('name')!r} is not {NAME!r}")
        return cls(**data.get("configuration", {}))

    def to_dict(self) -> dict[str, Any]:
        """Entry of the codec in ``zarr.json``."""
        configuration = {key: value for key, value in self.codec.get_config().items() if key != "id"}
        return {"name": NAME, "configuration": configuration}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PhotonZarr3) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(str(self.to_dict()))

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        values = np.ascontiguousarray(chunk_array.as_numpy_array())
        payload = await asyncio.to_thread(self.codec.encode, values)
        return chunk_spec.prototype.buffer.from_array_like(payload)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        payload = np.asarray(chunk_bytes.as_numpy_array())
        most = math.prod(chunk_spec.shape)
        values: Any = await asyncio.to_thread(self.codec.decode_chunk, payload, most=most)
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(values.reshape(chunk_spec.shape))

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Raise NotImplementedError: the size is not known before encoding."""
        raise NotImplementedError("the size of a photon chunk depends on its content")
