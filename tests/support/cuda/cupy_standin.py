"""A strict stand-in for the few CuPy calls this project makes. No GPU code is run: kernels are g++ builds.

Strict where NumPy would be lenient and where a GPU would fail only sometimes:

- device arrays are no host arrays: nothing converts or iterates them implicitly;
- streams are queues that run only when somebody waits, streams against each other in seeded random order;
- memory is full of garbage at first, and again once its last owner is gone and its stream gets there;
- a pinned buffer is read when the stream gets there, a pageable one at the call; a buffer that a copy will
  fill is garbage until then;
- kernels get exactly the C types they declare, arrays of the current device, and lie within their memory;
- an event waits for what was recorded before the wait, no more; each thread has its own current stream;
- memory runs out where a test says so.

``installed(seed)`` puts it into ``sys.modules`` as ``cupy`` and gives the :class:`Machine` to steer by.
"""

from __future__ import annotations

import contextlib
import ctypes
import random
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tests.support.cuda.on_cpu import HostModule, host_module

NOTICE = "No GPU code was run: kernels compiled by g++, CuPy replaced by a strict stand-in."
_GARBAGE, _FREED, _PENDING = 0xA5, 0xDD, 0x5A

_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = [ctypes.c_size_t]
_libc.free.argtypes = [ctypes.c_void_p]


class CUDARuntimeError(RuntimeError):
    """The error that CuPy raises for errors of the runtime."""


class OutOfMemoryError(MemoryError):
    """The error that CuPy raises when the device is full."""


class Copy(NamedTuple):
    """A requested copy between host and device."""

    way: str
    device: int
    dtype: np.dtype
    size: int
    pinned: bool


class Machine:
    """The devices, their streams, and the random order in which the streams advance."""

    def __init__(self, seed: int, devices: int, memory: int) -> None:
        self.random = random.Random(seed)
        self.devices = devices
        self.memory = memory
        self.used = [0] * devices
        self.peak = [0] * devices
        self.streams: list[Stream] = []
        self.pinned: dict[int, int] = {}
        self.lock = threading.RLock()
        self.local = threading.local()
        self.launched: list[tuple[int, str]] = []
        self.memories: weakref.WeakSet[Memory] = weakref.WeakSet()
        self.graveyard: list[int] = []
        self.copied: list[Copy] = []
        self.ran: list[tuple[str, int]] = []
        self.null = [Stream(self, device) for device in range(devices)]
        self.clock = 0

    def device(self) -> int:
        return getattr(self.local, "device", 0)

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def stream(self) -> Stream:
        stack = getattr(self.local, "streams", None)
        return stack[-1] if stack and stack[-1].device == self.device() else self.null[self.device()]

    def run_until(self, done: Callable[[], bool]) -> None:
        """Advance streams at random, one step at a time. Nothing runs before something waits.

        Each wait favours some streams over others, by up to a thousand to one: a GPU may let one run ahead.
        """
        favour: dict[int, float] = {}
        while True:
            with self.lock:
                if done():
                    return
                ready = [stream for stream in self.streams if stream.ready()]
                if not ready:
                    raise CUDARuntimeError("stand-in: waiting for work that nobody queued")
                weights = [
                    favour.setdefault(id(stream), 10 ** self.random.uniform(-3, 0)) for stream in ready
                ]
                self.random.choices(ready, weights)[0].step()


class Stream:
    """A queue of steps; ``guard`` says whether the first may run yet."""

    def __init__(self, machine: Machine, device: int) -> None:
        self.machine, self.device = machine, device
        self.queue: list[tuple[Callable[[], object], Callable[[], bool]]] = []
        machine.streams.append(self)

    def push(self, action: Callable[[], object], guard: Callable[[], bool] = lambda: True) -> None:
        with self.machine.lock:
            self.queue.append((action, guard))

    def ready(self) -> bool:
        return bool(self.queue) and self.queue[0][1]()

    def step(self) -> None:
        self.queue.pop(0)[0]()

    def synchronize(self) -> None:
        self.machine.run_until(lambda: not self.queue)

    def wait_event(self, event: Event) -> None:
        number = event.recorded
        self.push(lambda: None, lambda: event.reached >= number)

    def record(self, event: Event | None = None) -> Event:
        event = event or Event(self.machine)
        event.record(self)
        return event

    def __enter__(self) -> Stream:
        if self.device != self.machine.device():
            raise CUDARuntimeError(f"stand-in: a stream of device {self.device} on {self.machine.device()}")
        self.machine.local.streams = [*getattr(self.machine.local, "streams", []), self]
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.local.streams.pop()


class Event:
    """An event. It is done when its stream has reached the point where it was last recorded."""

    def __init__(self, machine: Machine, disable_timing: bool = False) -> None:
        self.machine, self.recorded, self.reached = machine, 0, 0
        self.timing, self.at = not disable_timing, 0

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or self.machine.stream()
        self.recorded += 1
        number = self.recorded
        stream.push(lambda: self._reach(number))

    def _reach(self, number: int) -> None:
        if number > self.reached:
            self.reached, self.at = number, self.machine.tick()

    def synchronize(self) -> None:
        number = self.recorded
        self.machine.run_until(lambda: self.reached >= number)


def elapsed(begin: Event, end: Event) -> float:
    """Return the milliseconds between two events; the clock counts events."""
    for event in (begin, end):
        if not event.timing:
            raise CUDARuntimeError("stand-in: cudaErrorInvalidResourceHandle: an event without timing")
        if not event.recorded or event.reached < event.recorded:
            raise CUDARuntimeError("stand-in: cudaErrorNotReady: an event that no stream has reached")
    return (end.at - begin.at) / 1e3


class Memory:
    """Allocate device memory by malloc, in its exact size, so that sanitizers see accesses beyond it."""

    def __init__(self, machine: Machine, nbytes: int) -> None:
        device = machine.device()
        with machine.lock:
            if machine.used[device] + nbytes > machine.memory:
                raise OutOfMemoryError(f"Out of memory allocating {nbytes:,} bytes (stand-in)")
            machine.used[device] += nbytes
            machine.peak[device] = max(machine.peak[device], machine.used[device])
        self.machine, self.device, self.nbytes = machine, device, nbytes
        address = _libc.malloc(max(nbytes, 1))
        ctypes.memset(address, _GARBAGE, max(nbytes, 1))
        self.raw = (
            np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address)) if nbytes else _nothing()
        )
        self.address = address
        machine.memories.add(self)
        # The pool gives the memory to later work of the same stream, which runs after what is queued.
        weakref.finalize(self, _give_back, machine, device, nbytes, address, machine.stream()).atexit = False


def _nothing() -> np.ndarray:
    return np.empty(0, np.uint8)


def _give_back(machine: Machine, device: int, nbytes: int, address: int, stream: Stream) -> None:
    def free() -> None:
        ctypes.memset(address, _FREED, max(nbytes, 1))
        machine.graveyard.append(address)

    machine.used[device] -= nbytes
    stream.push(free)


class ndarray:
    """Device memory: only copies and kernels reach it."""

    def __init__(self, memory: Memory, host: np.ndarray) -> None:
        self._memory, self._host = memory, host
        self.shape, self.dtype, self.strides = host.shape, host.dtype, host.strides
        self.size, self.nbytes, self.ndim, self.itemsize = host.size, host.nbytes, host.ndim, host.itemsize
        self.flags = types.SimpleNamespace(c_contiguous=host.flags.c_contiguous)
        self.device = Device(memory.machine, memory.device)

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(
            ptr=self._address(), memset_async=self._memset, copy_from_device_async=self._copy, array=self
        )

    def _address(self) -> int:
        return int(self._host.ctypes.data) if self.size else self._memory.address

    def _memset(self, value: int, nbytes: int, stream: Stream | None = None) -> None:
        if nbytes != self.nbytes or not self.flags.c_contiguous:
            raise ValueError("stand-in: memset of part of an array")
        stream, host = stream or self._memory.machine.stream(), self._host
        stream.push(lambda: host.view(np.uint8).fill(value))

    def _copy(self, source: Any, nbytes: int, stream: Stream | None = None) -> None:
        host = source.array
        if (
            not nbytes == self.nbytes == host.nbytes
            or not self.flags.c_contiguous
            or not host.flags.c_contiguous
        ):
            raise ValueError("stand-in: a copy of part of an array")
        stream = stream or self._memory.machine.stream()
        _same_device(self._memory.machine, self, stream)
        _same_device(self._memory.machine, host, stream)
        to, at = self._host, host._host
        stream.push(lambda: np.copyto(to, at))

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy "
            "array explicitly."
        )

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("stand-in: iterating device memory")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> ndarray:
        return ndarray(self._memory, self._host[key])

    def reshape(self, *shape: Any) -> ndarray:
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        view = self._host.reshape(shape)
        if self.size and not np.shares_memory(view, self._host):
            raise ValueError("stand-in: this reshape would copy")
        return ndarray(self._memory, view)

    def transpose(self, *axes: int) -> ndarray:
        return ndarray(self._memory, self._host.transpose(*axes))

    def view(self, dtype: Any) -> ndarray:
        return ndarray(self._memory, self._host.view(dtype))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._address(), False),
            "version": 3,
            "strides": None if self.flags.c_contiguous else self.strides,
            "stream": 1,
        }

    def set(self, source: np.ndarray, stream: Stream | None = None) -> None:
        if not isinstance(source, np.ndarray) or source.dtype != self.dtype or source.shape != self.shape:
            raise ValueError("Shape or dtype mismatch. A host array of the same shape and dtype is needed.")
        if not source.flags.c_contiguous or not self.flags.c_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        machine = self._memory.machine
        stream = stream or machine.stream()
        _same_device(machine, self, stream)
        pinned = _is_pinned(machine, source)
        snapshot = source if pinned else source.copy()
        machine.copied.append(Copy("up", self.device.id, self.dtype, self.size, pinned))
        host = self._host
        stream.push(lambda: (machine.ran.append(("up", self.size)), np.copyto(host, snapshot)))

    def get(
        self,
        stream: Stream | None = None,
        order: str = "C",
        out: np.ndarray | None = None,
        blocking: bool = True,
    ) -> np.ndarray:
        machine = self._memory.machine
        stream = stream or machine.stream()
        target = np.empty(self.shape, self.dtype) if out is None else out
        if target.dtype != self.dtype or target.shape != self.shape or not self.flags.c_contiguous:
            raise ValueError("Shape or dtype mismatch, or not contiguous.")
        pinned = _is_pinned(machine, target)
        machine.copied.append(Copy("down", self.device.id, self.dtype, self.size, pinned))
        blocking = blocking or not pinned
        with machine.lock:
            target.reshape(-1).view(np.uint8).fill(_PENDING)
            host = self._host
            stream.push(lambda: (machine.ran.append(("down", self.size)), np.copyto(target, host)))
        if blocking:
            stream.synchronize()
        return target


def _same_device(machine: Machine, array: ndarray, stream: Stream) -> None:
    if array.device.id != stream.device:
        raise CUDARuntimeError(f"stand-in: an array of device {array.device.id}, a stream of {stream.device}")


def _is_pinned(machine: Machine, array: np.ndarray) -> bool:
    start = array.ctypes.data
    return any(
        base <= start and start + array.nbytes <= base + size for base, size in list(machine.pinned.items())
    )


class Device:
    """A device by number; a context manager that makes it the current one of this thread."""

    def __init__(self, machine: Machine, number: int | None = None) -> None:
        self._machine = machine
        self.id = machine.device() if number is None else int(number)
        if not 0 <= self.id < machine.devices:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self.attributes = {"MultiProcessorCount": 1}
        self.compute_capability = "80"

    @property
    def mem_info(self) -> tuple[int, int]:
        return self._machine.memory - self._machine.used[self.id], self._machine.memory

    def __enter__(self) -> Device:
        self._machine.local.devices = [*getattr(self._machine.local, "devices", []), self._machine.device()]
        self._machine.local.device = self.id
        return self

    def __exit__(self, *_: object) -> None:
        self._machine.local.device = self._machine.local.devices.pop()


class RawModule:
    """The source, compiled by g++. It checks the options that NVRTC would get."""

    def __init__(
        self, machine: Machine, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc"
    ) -> None:
        if not isinstance(options, tuple) or backend != "nvrtc":
            raise TypeError("stand-in: options must be a tuple, backend 'nvrtc'")
        self._machine, self._device = machine, machine.device()
        self._module: HostModule = host_module(code)

    def get_function(self, name: str) -> Callable[..., None]:
        if name not in self._module.names:
            raise CUDARuntimeError(f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}")
        return lambda grid, block, args: self._launch(name, grid, block, args)

    def _launch(
        self, name: str, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]
    ) -> None:
        machine = self._machine
        stream = machine.stream()
        if self._device != machine.device():
            raise CUDARuntimeError("stand-in: a module of another device")
        values: list[Any] = []
        for value in args:
            if isinstance(value, ndarray):
                _same_device(machine, value, stream)
                values.append(value._address())
            elif isinstance(value, np.generic):
                values.append(value)
            else:
                raise TypeError(f"Unsupported type {type(value)}")
        order = machine.random.choice([0, 1, machine.random.randrange(2, 1 << 20)])

        def run() -> None:
            self._module.set_order(order)
            self._module.launch(name, grid, block, values)

        machine.launched.append((stream.device, name))
        stream.push(run)


def module(machine: Machine) -> types.ModuleType:
    """Make the stand-in: a module named ``cupy``."""
    cupy, cuda, runtime = (types.ModuleType(name) for name in ("cupy", "cupy.cuda", "cupy.cuda.runtime"))

    def empty(shape: Any, dtype: Any = np.float64) -> ndarray:
        shape = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
        memory = Memory(machine, int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
        return ndarray(memory, memory.raw.view(dtype).reshape(shape))

    def asarray(value: Any) -> ndarray:
        if isinstance(value, ndarray):
            return value
        if hasattr(value, "__cuda_array_interface__"):
            return shared(machine, value.__cuda_array_interface__)
        if not isinstance(value, np.ndarray):
            raise TypeError(f"stand-in: asarray of a {type(value)}")
        array = empty(value.shape, value.dtype)
        array.set(np.ascontiguousarray(value))
        return array

    def alloc_pinned_memory(nbytes: int) -> Any:
        buffer = (ctypes.c_uint8 * nbytes)()
        ctypes.memset(buffer, _GARBAGE, nbytes)
        address = ctypes.addressof(buffer)
        machine.pinned[address] = nbytes
        weakref.finalize(buffer, machine.pinned.pop, address).atexit = False
        return buffer

    cupy.ndarray, cupy.empty, cupy.asarray = ndarray, empty, asarray  # type: ignore[attr-defined]
    cupy.RawModule = lambda **options: RawModule(machine, **options)  # type: ignore[attr-defined]
    cupy.cuda, cupy.__version__ = cuda, "stand-in"  # type: ignore[attr-defined]
    cupy.from_dlpack = lambda value: value.__dlpack__()  # type: ignore[attr-defined]
    cupy.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: None)  # type: ignore[attr-defined]
    cuda.runtime = runtime  # type: ignore[attr-defined]
    cuda.Device = lambda number=None: Device(machine, number)  # type: ignore[attr-defined]
    cuda.Stream = lambda non_blocking=False: Stream(machine, machine.device())  # type: ignore[attr-defined]
    cuda.Event = lambda disable_timing=False: Event(machine, disable_timing)  # type: ignore[attr-defined]
    cuda.get_elapsed_time = elapsed  # type: ignore[attr-defined]
    cuda.get_current_stream = machine.stream  # type: ignore[attr-defined]
    cuda.alloc_pinned_memory = alloc_pinned_memory  # type: ignore[attr-defined]
    cuda.memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError)  # type: ignore[attr-defined]
    runtime.CUDARuntimeError = CUDARuntimeError  # type: ignore[attr-defined]
    runtime.getDevice = machine.device  # type: ignore[attr-defined]
    runtime.getDeviceCount = lambda: machine.devices  # type: ignore[attr-defined]
    return cupy


def shared(machine: Machine, interface: dict[str, Any]) -> ndarray:
    """Return an array of the stand-in on the memory that a ``__cuda_array_interface__`` describes."""
    address = interface["data"][0]
    owner = next((m for m in list(machine.memories) if m.address <= address < m.address + m.nbytes), None)
    if owner is None:
        raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")  # as hardware has it
    dtype = np.dtype(interface["typestr"])
    host = np.ndarray(
        interface["shape"], dtype, owner.raw, address - owner.address, interface.get("strides") or None
    )
    return ndarray(owner, host)


@contextlib.contextmanager
def installed(seed: int = 0, *, devices: int = 1, memory: int = 1 << 30) -> Iterator[Machine]:
    """Replace CuPy by the stand-in within the block; modules that import CuPy are loaded again."""
    machine = Machine(seed, devices, memory)
    fake = module(machine)
    ours = (
        "cupy",
        "photon_gpu.kernels.cuda",
        "photon_gpu.kernels.zstd_huffman.cuda",
        "photon_gpu.engine.gpu",
    )
    _forget_backends()
    saved = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith(ours)}
    sys.modules.update({"cupy": fake, "cupy.cuda": fake.cuda, "cupy.cuda.runtime": fake.cuda.runtime})
    try:
        yield machine
        for stream in machine.streams:
            stream.synchronize()
    finally:
        _forget_backends()
        for name in [name for name in sys.modules if name.startswith(ours)]:
            del sys.modules[name]
        sys.modules.update(saved)


def _forget_backends() -> None:
    from photon_gpu import kernels
    from photon_gpu.engine import backend_choice
    from photon_gpu.writer import warmup

    backend_choice._gpu_backend.cache_clear()
    warmup._warm.cache_clear()
    if hasattr(kernels, "cuda"):
        del kernels.cuda
