"""Movies that lie on a GPU already: CuPy arrays, and what shares its memory with them."""

from __future__ import annotations

from typing import Any

from photon_gpu.errors import InvalidInputError, UnsupportedTypeError
from photon_gpu.sources.base import Source
from photon_gpu.sources.check import check_movie


def lies_on_gpu(obj: Any) -> bool:
    """Whether an object says that its memory is a CUDA device's."""
    if hasattr(obj, "__cuda_array_interface__"):
        return True
    if not (hasattr(obj, "__dlpack__") and hasattr(obj, "__dlpack_device__")):
        return False
    return int(obj.__dlpack_device__()[0]) in (2, 13)  # kDLCUDA, kDLCUDAManaged


class CudaSource(Source):
    """A movie on a GPU; :meth:`read` gives views there, and nothing is copied down.

    Parameters
    ----------
    array : object
        With ``__cuda_array_interface__`` or DLPack: CuPy, PyTorch, JAX, Numba, ...
        ``(T, ..., H, W)``; pixels of a frame must be contiguous, frames may lie apart.

    Raises
    ------
    InvalidInputError
        Frames that are not contiguous.
    UnsupportedTypeError
        A dtype that is no movie's.
    BackendUnavailableError
        CuPy is not installed.
    """

    def __init__(self, array: Any) -> None:
        from photon_gpu.engine.gpu.devices import load_cupy

        cupy = load_cupy()
        self.name = f"{type(array).__name__} on a GPU"
        try:
            shared = hasattr(array, "__cuda_array_interface__")
            self._array = cupy.asarray(array) if shared else cupy.from_dlpack(array)
        except (TypeError, ValueError, BufferError, cupy.cuda.runtime.CUDARuntimeError) as error:
            raise UnsupportedTypeError(f"{self.name}: CuPy cannot share its memory ({error})") from error
        self.dtype = check_movie(self._array.shape, self._array.dtype, self.name)
        self.shape = tuple(int(n) for n in self._array.shape)
        self.device = int(self._array.device.id)
        self._check_strides()
        # What made the frames may still be under way, on the stream that is current here.
        with cupy.cuda.Device(self.device):
            cupy.cuda.get_current_stream().synchronize()

    def _check_strides(self) -> None:
        expected = self.dtype.itemsize
        for size, stride in zip(self.shape[:0:-1], self._array.strides[:0:-1], strict=True):
            if size > 1 and stride != expected:
                raise InvalidInputError(
                    f"{self.name}: shape {self.shape} has strides {tuple(self._array.strides)}; the "
                    f"pixels of a frame "
                    "must be contiguous: pass cupy.ascontiguousarray(frames)"
                )
            expected *= size
        if self.shape[0] > 1 and self._array.strides[0] < expected:
            raise InvalidInputError(
                f"{self.name}: shape {self.shape} has strides {tuple(self._array.strides)}; frames "
                f"must follow each "
                "other in memory: pass cupy.ascontiguousarray(frames)"
            )

    def read(self, start: int, stop: int) -> Any:
        """Frames ``start:stop``: a view, on the GPU."""
        self._check_frames(start, stop)
        if self._array is None:
            raise InvalidInputError(f"{self.name}: the source is closed")
        return self._array[start:stop]

    def close(self) -> None:
        """Let go of the array."""
        self._array = None
