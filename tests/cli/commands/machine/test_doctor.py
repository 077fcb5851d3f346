"""``doctor``: what is there, what is not, and what to do; the exit code says whether anything works."""

import importlib.metadata

import pytest

from photon_gpu.tools import doctor


def test_what_is_found_is_told(cli):
    ran = cli("doctor")
    assert ran.code == 0 and "numba" in ran.out and "compiled kernels" in ran.out
    ran = cli("doctor", "--json")
    assert ran.json["backend"]["state"] == "numba" and not ran.json["numpy"]["broken"]


def test_what_is_missing_comes_with_what_to_do(cli, monkeypatch):
    def gone(name, right=importlib.metadata.version):
        if name == "zarr":
            raise importlib.metadata.PackageNotFoundError(name)
        return right(name)

    monkeypatch.setattr(doctor, "version", gone)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    ran = cli("doctor", "--json")
    assert ran.code == 1 and ran.json["zarr"] == {
        "state": "not installed",
        "advice": "pip install zarr",
        "broken": True,
    }
    assert "pip install 'photon-gpu[s3]'" in ran.json["extra s3"]["advice"]


@pytest.mark.parametrize("words", [("--quiet", "doctor"), ("doctor", "--quiet")])
def test_quiet_prints_nothing_for_people(cli, words):
    assert cli(*words).out == ""
    assert cli(*words, "--json").json["numpy"]
    assert "there is no" in cli("encode", "none.npy", "a.zarr", "--quiet").err
