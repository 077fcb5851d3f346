"""Import Numba without SciPy's linear algebra, which takes a tenth of a short command."""

from __future__ import annotations

import sys

_BLAS = "scipy.linalg.cython_blas"


def import_numba() -> None:
    """Import Numba without SciPy's linear algebra, whose import takes a tenth of a short command.

    Numba looks for it once, to compute ``np.convolve`` of compiled code by BLAS. Kernels do not use this, and
    a command runs no compiled code of others. All other uses of SciPy are as usual.
    """
    if _BLAS in sys.modules:
        return
    sys.modules[_BLAS] = None  # type: ignore[assignment]
    try:
        import numba.np.arraymath  # noqa: F401 - it is loaded here, without BLAS
    finally:
        del sys.modules[_BLAS]
