"""Encode and read a movie with one checkout, for ``python -m benchmarks.compare_checkouts``.

This file runs as a program of its own and imports nothing of its own checkout, so that the code before and
the code now are measured by the same lines. It prints JSON.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import shutil
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def import_from(checkout: Path) -> Any:
    """Import photon_gpu and its kernels from a checkout, whichever is installed."""
    sys.path.insert(0, str(checkout))
    import photon_gpu

    for name in ("kernels", "decoder"):  # they lie beside the package and are installed within it
        folder = checkout / name
        if (folder / "__init__.py").exists():
            spec = importlib.util.spec_from_file_location(
                f"photon_gpu.{name}", folder / "__init__.py", submodule_search_locations=[str(folder)]
            )
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
            setattr(photon_gpu, name, module)
    assert Path(photon_gpu.__file__ or "").is_relative_to(checkout), photon_gpu.__file__
    return photon_gpu


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Arguments: checkout, movie (.npy), noise model (JSON), rows (JSON), repeats, folder for stores."""
    warnings.simplefilter("ignore")
    pg = import_from(Path(sys.argv[1]).resolve())
    values = np.load(sys.argv[2])
    noise = pg.NoiseModel(**json.loads(sys.argv[3]))
    allowed = inspect.signature(pg.encode).parameters
    unchecked = {"check": False, "trust_noise": True}  # older versions lack them
    options = {name: value for name, value in unchecked.items() if name in allowed}
    results = {}
    middle, (height, width) = len(values) // 2, values.shape[-2:]
    rows, columns = slice(height // 3, height // 3 + 8), slice(width // 3, width // 3 + 8)
    for name, settings in json.loads(sys.argv[4]):
        spent: dict[str, list[tuple[float, float]]] = {}
        store = Path(sys.argv[6], "movie.zarr")
        for repeat in range(int(sys.argv[5]) + 1):
            shutil.rmtree(store, ignore_errors=True)
            actions: dict[str, Callable[[], object]] = {
                "encode": lambda: pg.encode(values, store, noise=noise, **settings, **options),  # noqa: B023
                "decode": lambda: pg.open(store).counts[...],  # noqa: B023
                "frame": lambda: pg.open(store).counts[middle],  # noqa: B023
                "region": lambda: pg.open(store).counts[:, rows, columns].mean((1, 2)),  # noqa: B023
            }
            for action, call in actions.items():
                seconds = timed(call)
                if repeat:  # the first warms up
                    spent.setdefault(action, []).append(seconds)
        row: dict[str, float] = {"bytes": sum(f.stat().st_size for f in store.rglob("*") if f.is_file())}
        for action, pairs in spent.items():
            for clock, seconds in zip(("wall", "cpu"), zip(*pairs, strict=True), strict=True):
                row[f"{action} {clock}"] = statistics.median(seconds)
        results[name] = row
    print(json.dumps(results))


if __name__ == "__main__":
    main()
