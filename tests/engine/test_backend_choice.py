"""Which kernels run, and why."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from photon_gpu.engine.backend_choice import NAMES, get_backend
from photon_gpu.errors import InvalidInputError
from photon_gpu.kernels import cpu, reference


def test_names_choose_their_kernels():
    assert get_backend("numba").kernels is cpu and get_backend("numpy").kernels is reference
    assert get_backend() is get_backend("auto") and get_backend("auto").kernels is cpu
    assert get_backend("numba").why == "requested by name" and get_backend("auto").why != "requested by name"


@pytest.mark.parametrize("name", ["", "tpu", "NUMBA", None, 3])
def test_other_names_are_refused_with_what_is_allowed(name):
    with pytest.raises(InvalidInputError, match="numba, cupy, numpy"):
        get_backend(name)
    assert set(NAMES) == {"auto", "numba", "cupy", "numpy"}


def test_without_numba_the_package_imports_and_each_use_says_what_to_install():
    code = """
        import sys
        sys.modules["numba"] = None
        import photon_gpu as pg
        from photon_gpu.engine.backend_choice import get_backend
        from photon_gpu.tools.doctor import diagnose
        for use in (lambda: pg.encode, lambda: get_backend("auto"), lambda: get_backend("numba")):
            try:
                use()
            except pg.PhotonError as error:
                print("pip install numba" in str(error))
        print(diagnose().exit_code)
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == ["True", "True", "True", "1"]


def test_the_cpu_has_no_gpu_and_places_tables_where_they_are():
    table = object()
    for name in ("numba", "numpy"):
        assert get_backend(name).gpu is None and get_backend(name).upload(table) is table
