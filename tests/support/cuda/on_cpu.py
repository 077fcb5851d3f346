"""Build the CUDA source with g++ and ``shim.h``, and launch its kernels with checked arguments."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

SHIM = Path(__file__).with_name("shim.h")
FLAGS = ("-std=c++20", "-g1", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing", "-w")
SANITIZERS = {
    "": ("-O1",),
    "address": ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
    # -O1 keeps locals in registers. Threads reuse stacks, which the sanitizer would call a race.
    "thread": ("-O1", "-fsanitize=thread"),
}
THREADS = 256
_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+__launch_bounds__\s*\([^)]*\)\s*(\w+)\s*\(')


class HostLaunchError(RuntimeError):
    """An error that the shim found in a launch."""


def sanitizer() -> str:
    """Return the name of the sanitizer whose runtime is preloaded; empty without one."""
    return os.environ.get("PHOTON_GPU_HOST_SANITIZER", "")


def _expanded(text: str) -> str:
    run = subprocess.run(
        ["g++", "-E", "-P", "-x", "c++", "-"], input=text, capture_output=True, text=True, check=True
    )
    return run.stdout


def _glue(text: str, names: list[str]) -> str:
    lines = [f'#include "{SHIM}"', '#line 1 "quantize.cu"', text, 'extern "C" {']
    for name in names:
        lines.append(
            f"int launch_{name}(const unsigned* grid, const unsigned* block, void** arguments) "
            f"{{ return host::launch(&{name}, grid, block, THREADS, arguments); }}\n"
            f"const char* signature_{name}() "
            f"{{ static const std::string text = host::signature(&{name}); return text.c_str(); }}"
        )
    lines.append("void set_order(unsigned order) { host::g_order = order; }")
    lines.append("void set_poison(unsigned char poison) { host::g_poison = poison; }")
    lines.append("const char* last_error() { return host::g_error.c_str(); }\n}")
    return "\n".join(lines)


class HostModule:
    """Every kernel of one source, runnable on the host.

    ``order`` of blocks and threads: 0 upwards, 1 downwards, others seed a shuffle.
    """

    def __init__(self, text: str, sanitizer_name: str = "") -> None:
        self.names = _KERNEL.findall(_expanded(text))
        glue = _glue(text, self.names)
        flags = (*FLAGS, *SANITIZERS[sanitizer_name])
        key = hashlib.sha256("\0".join((glue, SHIM.read_text(), *flags)).encode()).hexdigest()[:20]
        folder = Path(tempfile.gettempdir()) / f"photon_gpu_host_{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        library = folder / f"{key}.so"
        if not library.exists():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                code = Path(scratch, "photon.cpp")
                code.write_text(glue)
                built = Path(scratch, "photon.so")
                environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
                subprocess.run(["g++", *flags, str(code), "-o", str(built)], check=True, env=environment)
                built.replace(library)
        self._library = ctypes.CDLL(str(library))
        self._library.last_error.restype = ctypes.c_char_p
        self.signatures = {name: self._signature(name) for name in self.names}

    def _signature(self, name: str) -> list[tuple[str, int]]:
        function = getattr(self._library, f"signature_{name}")
        function.restype = ctypes.c_char_p
        return [(part[0], int(part[1:])) for part in function().decode().split()]

    def set_order(self, order: int) -> None:
        """Choose the order of blocks and threads of later launches."""
        self._library.set_order(ctypes.c_uint(order))

    def set_poison(self, poison: int) -> None:
        """Choose the byte that fills shared memory when a block starts."""
        self._library.set_poison(ctypes.c_ubyte(poison))

    def launch(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], arguments: list) -> None:
        """Run a kernel. A pointer argument is an address (int), others NumPy scalars of the exact type."""
        wanted = self.signatures[name]
        if len(arguments) != len(wanted):
            raise HostLaunchError(f"{name}: {len(arguments)} arguments, the kernel takes {len(wanted)}")
        values = [
            self._argument(name, i, *pair) for i, pair in enumerate(zip(arguments, wanted, strict=True))
        ]
        pointers = (ctypes.c_void_p * len(values))(*[value.ctypes.data for value in values])
        sizes = [(ctypes.c_uint * 3)(*(*size, 1, 1)[:3]) for size in (grid, block)]
        if getattr(self._library, f"launch_{name}")(*sizes, pointers):
            raise HostLaunchError(f"{name}: {self._library.last_error().decode()}")

    @staticmethod
    def _argument(name: str, position: int, value: object, wanted: tuple[str, int]) -> np.ndarray:
        if isinstance(value, int) and not isinstance(value, bool):
            letter, boxed = "P", np.array([value], np.uint64)
        elif isinstance(value, np.generic):
            letter, boxed = value.dtype.kind, np.array([value])
        else:
            raise HostLaunchError(f"{name}: argument {position} is a {type(value).__name__}")
        if (letter, boxed.itemsize) != wanted:
            expected = f"{wanted[0]}{wanted[1]}"
            raise HostLaunchError(
                f"{name}: argument {position} is {letter}{boxed.itemsize}, the kernel takes {expected}"
            )
        return boxed


@functools.cache
def host_module(text: str, sanitizer_name: str | None = None) -> HostModule:
    """Build the module of a source, once for each sanitizer."""
    return HostModule(text, sanitizer() if sanitizer_name is None else sanitizer_name)
