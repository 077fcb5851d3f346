"""Source of a movie on a GPU: a CuPy array, or an object that shares its memory with CuPy."""

from __future__ import annotations

from typing import Any

from photon_gpu.errors import InvalidInputError, UnsupportedTypeError
from photon_gpu.sources.base import Source
from photon_gpu.sources.check import check_movie


def lies_on_gpu(obj: Any) -> bool:
    """Whether an object states that its memory is on a CUDA device."""
    if hasattr(obj, "__cuda_array_interface__"):
        return True
    if not (hasattr(obj, "__dlpack__") and hasattr(obj, "__dlpack_device__")):
        return False
    return int(obj.__dlpack_device__()[0]) in (2, 13)  # kDLCUDA, kDLCUDAManaged


class CudaSource(Source):
    """A movie on a GPU; :meth:`read` returns views there, without a copy to host memory.

    Parameters
    ----------
    array : object
        Array ``(T, ..., H, W)`` with ``__cuda_array_interface__`` or DLPack (CuPy, PyTorch, JAX, Numba).
        Pixels of a frame must be contiguous; frames need not be.

    Raises
    ------
    InvalidInputError
        The pixels of a frame are not contiguous.
    UnsupportedTypeError
        The dtype is not that of a movie, or CuPy cannot share the memory.
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
        # The work that makes the frames may still be queued on the stream that is current here.
        with cupy.cuda.Device(self.device):
            cupy.cuda.get_current_stream().synchronize()

    def _check_strides(self) -> None:
        expected = self.dtype.itemsize
        for size, stride in zip(self.shape[:0:-1], self._array.strides[:0:-1], strict=True):
            if size > 1 and stride != expected:
                raise InvalidInputError(
                    f"{self.name}: shape {self.shape} has strides {tuple(self._array.strides)}; the "
                    "pixels of a frame must be contiguous: pass cupy.ascontiguousarray(frames)"
                )
            expected *= size
        if self.shape[0] > 1 and self._array.strides[0] < expected:
            raise InvalidInputError(
                f"{self.name}: shape {self.shape} has strides {tuple(self._array.strides)}; frames "
                "must follow each other in memory: pass cupy.ascontiguousarray(frames)"
            )

    def read(self, start: int, stop: int) -> Any:
        """Read frames ``start:stop``: a view on the GPU."""
        self._check_frames(start, stop)
        if self._array is None:
            raise InvalidInputError(f"{self.name}: the source is closed; open it again")
        return self._array[start:stop]

    def close(self) -> None:
        """Release the array."""
        self._array = None
