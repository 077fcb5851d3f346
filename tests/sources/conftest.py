"""A movie, and each kind of file written with the library that its users write it with."""

from __future__ import annotations

import uuid

import pytest

from tests.support.sources.source_files import WRITERS, make_movie, write_scanimage


@pytest.fixture
def movie():
    return make_movie()


@pytest.fixture(params=WRITERS)
def write_source(request):
    return WRITERS[request.param]


@pytest.fixture
def scanimage(tmp_path):
    def write(movie, **options):
        return write_scanimage(tmp_path / f"{uuid.uuid4().hex}.tif", movie, **options)

    return write
