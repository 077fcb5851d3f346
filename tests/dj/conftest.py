"""Each server starts once, when the first test asks for it."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path

import pytest

from tests.support import servers

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # asks the bucket's layout of emulators that stall
os.environ["DJ_IGNORE_CONFIG_FILE"] = "true"

_numbers = itertools.count()


@pytest.fixture(scope="session")
def database():
    """Environment of a process that is to use the embedded database."""
    # Not below pytest's own folder: each new session closes that to the user PostgreSQL runs as.
    with (
        tempfile.TemporaryDirectory(prefix="postgres") as folder,
        servers.postgres(Path(folder)) as environment,
    ):
        os.environ.update(environment)
        yield environment


@pytest.fixture(scope="session")
def dj(database):
    """DataJoint, connected to the embedded database."""
    import datajoint

    config = datajoint.config
    config["database.backend"] = "postgresql"
    config["database.host"] = database["DJ_HOST"]
    config["database.port"] = int(database["DJ_PORT"])
    config["database.user"] = database["DJ_USER"]
    config["database.password"] = database["DJ_PASS"]
    config["database.use_tls"] = False
    config["safemode"] = False
    config["loglevel"] = "WARNING"
    datajoint.conn()
    return datajoint


@pytest.fixture
def another(database, dj):
    """A second session of the same database, as another process would have."""
    instance = dj.Instance(
        host=database["DJ_HOST"],
        user="postgres",
        password="none",
        port=int(database["DJ_PORT"]),
        use_tls=False,
        backend="postgresql",
        safemode=False,
    )
    yield instance
    instance.connection.close()


@pytest.fixture(scope="session")
def mysql_port(tmp_path_factory):
    with servers.mysql(tmp_path_factory.mktemp("mysql")) as port:
        yield port


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    with servers.seaweed(tmp_path_factory.mktemp("seaweed")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    with servers.moto(tmp_path_factory.mktemp("moto")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def gcs(tmp_path_factory):
    with servers.gcs(tmp_path_factory.mktemp("gcs")) as endpoint:
        os.environ["STORAGE_EMULATOR_HOST"] = endpoint
        yield endpoint


@pytest.fixture
def specs(request, tmp_path):
    """Make the dictionary of an empty store at the named service."""

    def make(service):
        location = f"store{next(_numbers)}"
        if service == "file":
            (tmp_path / location).mkdir()
            return {"protocol": "file", "location": str(tmp_path / location)}
        endpoint = request.getfixturevalue(service)
        if service == "gcs":
            return {
                "protocol": "gs",
                "bucket": "imaging",
                "location": location,
                "token": "anon",
                "project": "p",
                "endpoint": endpoint,
            }
        return servers.s3_spec(endpoint, location)

    return make


@pytest.fixture
def schema(dj):
    """A schema of its own for each test, dropped after it."""
    made = dj.Schema(f"lab{next(_numbers)}")
    yield made
    if dj.conn().in_transaction:
        dj.conn().cancel_transaction()
    made.drop(prompt=False)
    dj.config.stores.clear()


@pytest.fixture
def store(dj, specs):
    """Set up the store ``imaging`` at the named service and return its DataJoint backend."""
    from datajoint.hash_registry import get_store_backend

    from photon_gpu.dj import stores

    def make(service="file", name="imaging", **more):
        stores({name: {**specs(service), **more}})
        return get_store_backend(name, config=dj.config)

    return make
