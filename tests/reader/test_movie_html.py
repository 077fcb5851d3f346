"""What Jupyter shows of a movie."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from matplotlib.image import imread

import photon_gpu as pg


def test_shows_the_facts_and_the_first_frame(tmp_path):
    frames = np.random.default_rng(0).poisson(20, (4, 2, 300, 400)).astype("uint16")
    frames[0, 0, :150] += 60  # the upper half is bright
    pg.encode(frames, tmp_path / "<b>.zarr", noise=pg.NoiseModel(), layout="compact", check=False)
    with pg.open(tmp_path / "<b>.zarr") as movie:
        text = movie._repr_html_()
    assert "4 × 2 × 300 × 400 uint16" in text and "compact" in text and "0.5 sigma" in text
    assert "&lt;b&gt;.zarr" in text and "<b>.zarr" not in text
    data = re.search(r"base64,([^']+)", text)
    assert data
    image = imread(io.BytesIO(base64.b64decode(data[1])), format="png")
    assert max(image.shape[:2]) <= 160 and image[:45, :, 0].mean() > image[55:, :, 0].mean() + 0.2


def test_a_damaged_frame_is_named_instead(tmp_path):
    frames = np.random.default_rng(0).poisson(20, (4, 30, 40)).astype("uint16")
    pg.encode(frames, tmp_path / "m", noise=pg.NoiseModel(), layout="compact", check=False)
    (tmp_path / "m" / "0.0.0").write_bytes(b"x" * 40)
    assert "cannot be read" in pg.open(tmp_path / "m")._repr_html_()
