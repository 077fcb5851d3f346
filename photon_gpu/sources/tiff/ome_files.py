"""Find the OME-XML of a file of a multi-file OME-TIFF: another TIFF file or a companion file holds it."""

from __future__ import annotations

import re
from pathlib import Path

from photon_gpu.errors import CorruptDataError
from photon_gpu.sources.check import SingleImageError

_BINARY_ONLY = re.compile(r'<(?:\w+:)?BinaryOnly\b[^>]*\bMetadataFile\s*=\s*"([^"]+)"')
_FILE_NAME = re.compile(r'\bFileName\s*=\s*"([^"]+)"')
COMPANION = ".ome"
"""Last suffix of a companion file, as in ``run.companion.ome``."""


def metadata_file(path: str, text: str | None) -> Path | None:
    """File with the OME-XML of the movie that ``path`` is a part of; None if ``path`` has it itself.

    Parameters
    ----------
    path : str
        TIFF file.
    text : str or None
        OME-XML of the file.

    Raises
    ------
    SingleImageError
        The file that it refers to is not beside it.

    Examples
    --------
    >>> metadata_file("run_1.ome.tif", "<OME><Image/></OME>")
    """
    match = _BINARY_ONLY.search(text or "")
    if match is None:
        return None
    other = Path(path).parent / Path(match[1]).name
    if not other.is_file():
        raise SingleImageError(
            f"{path}: the file is a part of an OME movie whose metadata are in {match[1]}, which is not "
            "beside it. Put it there, or give the numbered files as a folder, a glob or a list"
        )
    return other


def first_file(companion: str) -> str:
    """The first TIFF file that a companion file names and that is beside it."""
    text = Path(companion).read_text("utf-8", "replace")
    names = list(dict.fromkeys(_FILE_NAME.findall(text)))
    for name in names:
        if (path := Path(companion).parent / Path(name).name).is_file():
            return str(path)
    raise CorruptDataError(
        f"{companion}: of the {len(names)} TIFF files that this OME-XML names, none is beside it"
    )
