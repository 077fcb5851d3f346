"""HTML of a stored movie for Jupyter: a table of its properties and a thumbnail of its first frame."""

from __future__ import annotations

import base64
import html
import io

import numpy as np

from photon_gpu.errors import PhotonError
from photon_gpu.reader.movie_protocol import Readable

_LONGEST_SIDE = 160  # pixels of the thumbnail
_DARKEST, _BRIGHTEST = 1.0, 99.5  # percentiles that become black and white


def movie_html(movie: Readable) -> str:
    """Return a table of the movie's properties and its first frame; without matplotlib, only the table."""
    noise = movie.noise
    facts = {
        "shape": " × ".join(map(str, movie.shape)) + f" {movie.encoding.dtype}",
        "chunks": " × ".join(map(str, movie.chunks)),
        "layout": movie.layout,
        "step": "values as they are" if movie.step is None else f"{movie.step:g} sigma",
        "noise": "no model"
        if noise is None
        else f"gain {noise.gain:g} ADU/photon, offset {noise.offset:g} ADU, variance {noise.variance:g} ADU²",
        "at": movie.url,
    }
    rows = "".join(
        f"<tr style='text-align:left'><th>{name}</th><td>{html.escape(fact)}</td></tr>"
        for name, fact in facts.items()
    )
    return f"<div style='display:flex;gap:1em'><table>{rows}</table>{_thumbnail(movie)}</div>"


def _thumbnail(movie: Readable) -> str:
    """Return an ``img`` of the last two axes of the first frame, or a text if it cannot be read."""
    try:
        from matplotlib.image import imsave
    except ImportError:
        return ""
    try:
        key = (0,) * (len(movie.shape) - 2)
        every = max(1, -(-max(movie.shape[-2:]) // _LONGEST_SIDE))
        frame = movie.read((*key, slice(None, None, every), slice(None, None, every)), np.dtype(np.float32))
    except PhotonError as error:
        return f"<p>The first frame cannot be read: {html.escape(str(error))}</p>"
    low, high = np.nanpercentile(frame, [_DARKEST, _BRIGHTEST])
    png = io.BytesIO()
    imsave(png, frame, vmin=low, vmax=max(high, low + 1e-6), cmap="gray", format="png")
    data = base64.b64encode(png.getvalue()).decode()
    return f"<img alt='first frame' style='image-rendering:pixelated' src='data:image/png;base64,{data}'>"
