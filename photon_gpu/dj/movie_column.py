"""A movie column of a table, and the paths of its movies in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from photon_gpu.dj.codec import PhotonCodec, PhotonCompactCodec, resolve_store
from photon_gpu.dj.path_from_key import movie_path
from photon_gpu.dj.stores import storage_at, store_backend
from photon_gpu.errors import InvalidInputError
from photon_gpu.store.storage import Storage


@dataclass(frozen=True)
class Column:
    """One ``<photon@store>`` or ``<photon_compact@store>`` column of a table.

    Attributes
    ----------
    table : datajoint table
    field : str
        Name of the column.
    layout : str
        Layout of its movies.
    store : str
        Name of the store that holds them.
    backend
        DataJoint's backend of that store.
    """

    table: Any
    field: str
    layout: str
    store: str
    backend: Any

    @classmethod
    def of(cls, table: Any, field: str) -> Column:
        """Look up a column; raise an error that lists the movie columns if the name is unknown."""
        table = table() if isinstance(table, type) else table
        attribute = table.heading.attributes.get(field)
        codec = getattr(attribute, "codec", None)
        if not isinstance(codec, PhotonCodec | PhotonCompactCodec):
            raise InvalidInputError(
                f"{table.full_table_name} has no movie column {field!r}; it has {columns_of(table) or 'none'}"
            )
        config = table.connection._config
        store = resolve_store(attribute.store, config)
        return cls(table, field, codec.layout, store, store_backend(store, config))

    def key_of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The primary key of a row, in the table's order."""
        return {name: row[name] for name in self.table.primary_key}

    def path(self, key: Mapping[str, Any], token: str | None = None) -> str:
        """Path of a row's movie within the store."""
        return movie_path(
            self.table.database,
            self.table.table_name,
            key,
            self.field,
            token=token,
            prefix=self.backend.spec["schema_prefix"],
            partition=self.backend.spec.get("partition_pattern"),
        )

    def storage(self, path: str) -> Storage:
        """The folder at a path within the store."""
        return storage_at(self.backend, path, self.store)


def columns_of(table: Any) -> list[str]:
    """List the names of a table's movie columns."""
    codecs = PhotonCodec | PhotonCompactCodec
    return [
        name for name, attribute in table.heading.attributes.items() if isinstance(attribute.codec, codecs)
    ]
