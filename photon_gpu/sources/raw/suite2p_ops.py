"""Read suite2p's ops.npy, which describes the data.bin beside it, without running code from it."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.recording import Document, Recording

OPS = "ops.npy"
DTYPE = "int16"

_SAFE = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
    for name in ("_reconstruct", "scalar", "ndarray", "dtype")
}


class _Unknown:
    """Placeholder for an object of any class. Classes are not loaded: a pickle could call any function."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> _Unknown:
        return self

    def __setstate__(self, _: Any) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name) if (module, name) in _SAFE else _Unknown


def read_ops(path: Path) -> dict[str, Any]:
    """Read the dictionary in ``ops.npy``.

    Raises
    ------
    CorruptDataError
        The file is not an ``ops.npy`` of suite2p.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "ops.npy"
    >>> np.save(path, {"Ly": 4, "Lx": 5, "save_path": path})
    >>> ops = read_ops(path)
    >>> ops["Ly"], type(ops["save_path"]).__name__
    (4, '_Unknown')
    """
    try:
        with path.open("rb") as file:
            version = npy_format.read_magic(file)
            read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            read(file)
            values = _Unpickler(io.BytesIO(file.read())).load()
        ops = values.item() if isinstance(values, np.ndarray) else values
    except Exception as error:  # a damaged pickle raises any exception
        raise CorruptDataError(f"{path}: it cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(ops, dict):
        raise CorruptDataError(f"{path}: it holds no dictionary of suite2p's options")
    return ops


def frame_shape(ops: dict[str, Any], path: Path) -> tuple[int, int]:
    """Height and width of the frames in ``data.bin``."""
    try:
        return int(ops["Ly"]), int(ops["Lx"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"{path}: it has no frame size (Ly, Lx); give shape= and dtype=") from error


def promised_frames(ops: dict[str, Any]) -> int | None:
    """Number of frames that ``data.bin`` should hold; None if ``ops`` does not say."""
    promised = ops.get("nframes")
    return int(promised) if isinstance(promised, int | np.integer) else None


def recording(ops: dict[str, Any]) -> Recording:
    """Metadata in ``ops``: the frame rate, and its numbers and texts as JSON."""
    rate = ops.get("fs")
    plain = {key: value for key, value in ops.items() if isinstance(value, bool | int | float | str)}
    left = sorted(str(key) for key in ops if key not in plain)
    return Recording(
        axes="tyx",
        frame_rate=float(rate) if isinstance(rate, int | float | np.number) and rate > 0 else None,
        documents=(
            Document(name=f"{OPS}.json", media_type="application/json", data=json.dumps(plain).encode()),
        ),
        not_kept=(f"{len(left)} arrays and objects of {OPS}: {', '.join(left[:5])}",) if left else (),
    )
