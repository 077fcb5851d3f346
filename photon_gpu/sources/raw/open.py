"""Open a file of raw frames whose shape comes from the caller or from a file beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.raw import suite2p_ops, thorimage_xml
from photon_gpu.sources.raw.flat import RawSource, frame_shape
from photon_gpu.sources.truncated_file import ERROR, keep_whole_frames

_REMEDY = "give the right shape=, dtype= and offset_bytes="


class DescribedRawSource(RawSource):
    """Raw frames, with a remark from the file that describes them."""

    remark: str | None = None

    def note(self, chunk_frames: int) -> str | None:
        """Remark for a report."""
        return self.remark


def open_raw(
    path: Any, *, shape: Any = None, dtype: Any = None, offset_bytes: int = 0, truncated: str = ERROR
) -> RawSource:
    """Open raw frames of ThorImage, of suite2p, or of the shape that the caller passes.

    Parameters
    ----------
    path : path-like
        File, or the folder of a ThorImage recording with one raw file.
    shape : tuple of int or str, optional
        ``(..., H, W)`` of a frame, or text as in ``"512,512"``.
    dtype : dtype-like, optional
    offset_bytes : int
        Bytes before the first frame.
    truncated : {"error", "keep"}
        What to do if the file does not end with a frame, or has fewer frames than suite2p says.

    Raises
    ------
    InvalidInputError
        The size of frames is unknown.
    CorruptDataError
        The file is truncated.
    """
    path = _raw_file(Path(path))
    if shape is not None or dtype is not None:
        if shape is None or dtype is None:
            raise InvalidInputError(f"{path}: raw frames need both shape= and dtype=")
        stated_shape = frame_shape(shape, str(path))
        return RawSource(path, stated_shape, dtype, offset_bytes, truncated=truncated, remedy=_REMEDY)
    if (
        experiment_path := path.with_name(thorimage_xml.EXPERIMENT)
    ).exists() and path.suffix.lower() == ".raw":
        experiment = thorimage_xml.read_experiment(experiment_path)
        movie = DescribedRawSource(
            path, experiment.frame_shape, "<u2", offset_bytes, truncated=truncated, remedy=_REMEDY
        )
        experiment.check_frames(movie.shape[0], str(path))
        movie.recording, movie.remark = experiment.recording(), experiment.note(movie.shape[0])
        movie.stated_planes = experiment.planes
        return movie
    if (ops_path := path.with_name(suite2p_ops.OPS)).exists():
        ops = suite2p_ops.read_ops(ops_path)
        size = suite2p_ops.frame_shape(ops, ops_path)
        movie = DescribedRawSource(
            path, size, suite2p_ops.DTYPE, offset_bytes, truncated=truncated, remedy=_REMEDY
        )
        promised = suite2p_ops.promised_frames(ops)
        if promised is not None and movie.shape[0] < promised:
            problem = f"{suite2p_ops.OPS} says {promised} frames"
            movie.truncation = keep_whole_frames(str(path), problem, movie.shape[0], promised, truncated)
        movie.recording = suite2p_ops.recording(ops)
        return movie
    raise InvalidInputError(
        f"{path}: the size of its raw frames is unknown: give shape=(HEIGHT, WIDTH) and dtype=, and "
        f"offset_bytes= if a header comes first. Beside it, {thorimage_xml.EXPERIMENT} (ThorImage) or "
        f"{suite2p_ops.OPS} (suite2p) is read as well"
    )


def _raw_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.raw"))
    if len(files) != 1:
        names = ", ".join(file.name for file in files[:10])
        raise InvalidInputError(f"{path}: it holds {len(files)} raw files; give one of them: {names}")
    return files[0]
