"""Small recordings with known noise."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.noise.detector_models import detect, still


@pytest.fixture(scope="session")
def movie() -> np.ndarray:
    return detect(still())
