"""Connect to every database of a server, and identify databases and servers.

Several databases may share a store location, so a collection reads the references
of all of them, and stops if one cannot be read. Each database that stores movies in
a location leaves its identity there (see :mod:`photon_gpu.dj.marks_in_store`), so databases
of other servers are noticed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from photon_gpu.dj.references import ReferencesUnknownError

_OTHERS = """
    SELECT datname, datallowconn FROM pg_catalog.pg_database
    WHERE datname NOT IN ('template0', 'template1', current_database()) ORDER BY 1"""
# Databases of cloud providers, which no other user may connect to.
_PROVIDERS = {"rdsadmin", "cloudsqladmin", "azure_maintenance", "azure_sys"}

# A failed statement would abort the transaction an insert may run in.
_MAY_IDENTIFY = """
    SELECT coalesce(has_function_privilege(
        to_regprocedure('pg_catalog.pg_control_system()'), 'EXECUTE'), false)
      AND coalesce(has_function_privilege(
        to_regprocedure('pg_catalog.pg_control_checkpoint()'), 'EXECUTE'), false)"""
_IDENTIFY = """
    SELECT system_identifier, timeline_id
    FROM pg_catalog.pg_control_system(), pg_catalog.pg_control_checkpoint()"""
_VARIABLES = "SHOW VARIABLES WHERE variable_name IN ('server_uuid', 'server_uid', 'hostname', 'port')"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Identity of one database.

    Attributes
    ----------
    server : str
        Identifies the server, whose databases can be read together. A server made by dump and restore
        gets a new one, and so does one restored to an earlier time or promoted from a standby.
    database : str
        Name on the server; empty on MySQL, where one connection sees every schema.
    address : str
        Host and port, for messages.
    """

    server: str
    database: str
    address: str


def identify(connection: Any) -> Identity:
    """Identify the database of a connection."""
    info = connection.conn_info
    address = f"{info['host']}:{info['port']}"
    if connection.adapter.backend == "postgresql":
        (name,) = connection.query("SELECT current_database()").fetchone()
        number = address
        if connection.query(_MAY_IDENTIFY).fetchone()[0]:
            number = "/".join(map(str, connection.query(_IDENTIFY).fetchone()))
        return Identity(server=f"postgresql {number}", database=str(name), address=address)
    variables = {str(name).lower(): str(value) for name, value in connection.query(_VARIABLES)}
    # MariaDB has no server_uuid, and its server_uid identifies the machine only.
    number = variables.get("server_uuid") or "/".join(
        variables.get(name, "") for name in ("server_uid", "hostname", "port")
    )
    return Identity(server=f"mysql {number}", database="", address=address)


@contextmanager
def every_database(connection: Any, ignored: Collection[str] = ()) -> Iterator[tuple[Any, ...]]:
    """Connect to all databases of the server; ``connection`` comes first.

    Parameters
    ----------
    connection : datajoint.Connection
    ignored : collection of str
        Names of databases to leave out.

    Raises
    ------
    ReferencesUnknownError
        If a database cannot be read, or the user cannot see all schemas.
    """
    if connection.adapter.backend != "postgresql":
        _require_all_schemas(connection)
        yield (connection,)
        return
    with ExitStack() as opened:
        connections = [connection]
        for name, accepts in connection.query(_OTHERS).fetchall():
            if name in ignored or name in _PROVIDERS:
                continue
            try:
                if not accepts:
                    raise PermissionError("it accepts no connections")
                other = _connect(connection, name)
            except Exception as error:
                raise ReferencesUnknownError(
                    f"database {name!r} of this server may refer to movies and cannot be read "
                    f"({str(error).strip().splitlines()[0]}). Nothing was deleted. "
                    "Collect as a user who may read it, "
                    "or name it in ignore_databases if none of its rows refers to a movie"
                ) from error
            opened.callback(other.close)
            connections.append(other)
        yield tuple(connections)


def _connect(connection: Any, database: str) -> Any:
    from datajoint.connection import Connection

    info = connection.conn_info
    return Connection(
        info["host"],
        info["user"],
        info["passwd"],
        info["port"],
        info["ssl_input"],
        database_name=database,
        backend="postgresql",
        config_override=connection._config,
    )


def _require_all_schemas(connection: Any) -> None:
    """Require the right to read every schema, because MySQL hides other schemas and their references."""
    grants = [row[0] for row in connection.query("SHOW GRANTS")]
    everywhere = any(
        re.match(r"GRANT (ALL PRIVILEGES|.*\bSELECT\b).* ON \*\.\* TO ", grant) for grant in grants
    )
    if not everywhere or any(re.match(r"REVOKE .*\bSELECT\b", grant) for grant in grants):
        raise ReferencesUnknownError(
            "this user may not read every schema of the MySQL server, "
            "and rows of the others may refer to movies. "
            "Nothing was deleted. Collect as a user with GRANT SELECT, PROCESS ON *.*"
        )
