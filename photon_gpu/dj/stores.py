"""Configure DataJoint stores from plain dictionaries, and read and write movies in them.

DataJoint finds protocols through its ``datajoint.storage`` entry points. This module
adds ``gs`` and ``photon-s3``. An ``s3`` entry becomes ``photon-s3``, because
DataJoint's own ``s3`` refuses ``storage_class`` and a missing ``endpoint``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import fsspec
from datajoint.storage_adapter import StorageAdapter

from photon_gpu.errors import InvalidInputError, StoreUnavailableError
from photon_gpu.redact_credentials import remember
from photon_gpu.store.storage import Storage

#: Storage classes of S3.
STORAGE_CLASSES = (
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
    "EXPRESS_ONEZONE",
    "OUTPOSTS",
    "SNOW",
)

_LAYOUT = {
    "hash_prefix",
    "schema_prefix",
    "filepath_prefix",
    "subfolding",
    "partition_pattern",
    "token_length",
    "stage",
}
_ALLOWED = {
    "file": {"protocol", "location", *_LAYOUT},
    "s3": {
        "protocol",
        "endpoint",
        "bucket",
        "location",
        "access_key",
        "secret_key",
        "session_token",
        "region",
        "secure",
        "storage_class",
        "options",
        *_LAYOUT,
    },
    "gs": {"protocol", "endpoint", "bucket", "location", "token", "project", "options", *_LAYOUT},
}
_REQUIRED = {"file": ("location",), "s3": ("bucket",), "gs": ("bucket",)}
_PROTOCOL = {"file": "file", "s3": "photon-s3", "photon-s3": "photon-s3", "gs": "gs", "gcs": "gs"}


def stores(
    specs: Mapping[str, Mapping[str, Any]], *, default: str | None = None, config: Any = None
) -> dict[str, dict[str, Any]]:
    """Set up DataJoint stores from plain dictionaries.

    Paths in these stores are ``{location}/{schema}/{table}/...``, without DataJoint's ``_schema``
    folder unless ``schema_prefix`` sets it.

    Parameters
    ----------
    specs : mapping of str to mapping
        Specifications by store name. ``protocol`` is ``file``, ``s3`` or ``gs``; ``location`` is a folder.

        - file: ``location`` is an existing folder.
        - s3: ``bucket``; optionally ``endpoint`` (``host:port`` of MinIO and the like, HTTPS unless
          ``secure`` is false or the endpoint begins with ``http://``; none for AWS), ``region``,
          ``access_key`` and ``secret_key`` (else the usual AWS sources), ``storage_class`` for the
          chunks (metadata stay in STANDARD), ``options`` for s3fs.
        - gs: ``bucket``; optionally ``token``, ``project``, ``endpoint``, ``options`` for gcsfs.
    default : str, optional
        Store for ``<photon@>`` columns that name no store.
    config : datajoint.settings.Config, optional
        Default: ``dj.config``. For a ``dj.Instance``, pass its ``config``.

    Returns
    -------
    dict
        The entries that were put into ``config.stores``. Stores not named in ``specs`` are unchanged.

    Raises
    ------
    InvalidInputError
        A protocol, key or storage class is unknown, or a required one is missing.

    Examples
    --------
    >>> import datajoint as dj
    >>> from photon_gpu.dj import stores
    >>> made = stores({"cold": {"protocol": "s3", "bucket": "imaging", "location": "deep-archive",
    ...                         "storage_class": "GLACIER"}})
    >>> dj.config.get_store_spec("cold")["storage_class"]
    'GLACIER'
    """
    if config is None:
        import datajoint

        config = datajoint.config
    if default is not None and default not in specs and default not in config.stores:
        raise InvalidInputError(
            f"default={default!r} is not one of the stores: {', '.join(map(repr, specs))}"
        )
    made = {}
    for name, spec in specs.items():
        present = config.stores.get(name)
        # DataJoint reads credentials from .secrets/ into an entry that holds nothing else.
        secrets = present if isinstance(present, dict) and "protocol" not in present else {}
        made[name] = _translate(name, {**secrets, **spec})
    for name, spec in made.items():
        config.stores[name] = spec
        config.get_store_spec(name)
    if default is not None:
        config.stores["default"] = default
    return made


def _translate(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    where = f"store {name!r}"
    remember(None, spec)
    protocol = _PROTOCOL.get(str(spec.get("protocol", "")).lower())
    if protocol is None:
        raise InvalidInputError(
            f"{where}: protocol {spec.get('protocol')!r} is not known; allowed: 'file', 's3', 'gs'"
        )
    protocol_name = protocol.removeprefix("photon-")
    if unknown := sorted(set(spec) - _ALLOWED[protocol_name]):
        hint = "; set the bucket's default storage class instead" if "storage_class" in unknown else ""
        raise InvalidInputError(
            f"{where}: {', '.join(unknown)} is not a key of a {protocol_name} store{hint}. "
            f"Allowed: {', '.join(sorted(_ALLOWED[protocol_name]))}"
        )
    if missing := [key for key in _REQUIRED[protocol_name] if not spec.get(key)]:
        raise InvalidInputError(f"{where}: {', '.join(missing)} is missing from the {protocol_name} store")
    made = {"schema_prefix": "", **spec, "protocol": protocol}
    if protocol_name == "file":
        return made
    made["location"] = str(spec.get("location") or "").strip("/")
    if protocol_name == "s3":
        _check_s3(where, made)
    return made


def _check_s3(where: str, spec: dict[str, Any]) -> None:
    storage_class = spec.get("storage_class")
    if storage_class is not None and storage_class not in STORAGE_CLASSES:
        raise InvalidInputError(
            f"{where}: storage_class {storage_class!r} is not known; allowed: {', '.join(STORAGE_CLASSES)}"
        )
    if bool(spec.get("access_key")) != bool(spec.get("secret_key")):
        raise InvalidInputError(f"{where}: give both access_key and secret_key, or neither")


class S3Adapter(StorageAdapter):
    """Protocol ``photon-s3``: S3 with storage classes, on AWS (without endpoint) or any S3 server."""

    protocol = "photon-s3"
    required_keys = ("protocol", "bucket")
    allowed_keys = tuple(sorted(_ALLOWED["s3"]))

    def create_filesystem(self, spec: dict[str, Any]) -> fsspec.AbstractFileSystem:
        """Make a filesystem that writes every object with the store's storage class."""
        return s3_filesystem(spec, storage_class=spec.get("storage_class"))

    def full_path(self, spec: dict[str, Any], relpath: str) -> str:
        """``bucket/location/path``."""
        return _joined(spec, relpath)

    def get_url(self, spec: dict[str, Any], path: str) -> str:
        """Make a URL that any S3 client understands."""
        return f"s3://{path}"


class GSAdapter(StorageAdapter):
    """Protocol ``gs``: Google Cloud Storage, named as in its URLs."""

    protocol = "gs"
    required_keys = ("protocol", "bucket")
    allowed_keys = tuple(sorted(_ALLOWED["gs"]))

    def create_filesystem(self, spec: dict[str, Any]) -> fsspec.AbstractFileSystem:
        """Make a filesystem with the bucket's project and credentials."""
        return fsspec.filesystem(
            "gcs",
            token=spec.get("token"),
            project=spec.get("project"),
            use_listings_cache=False,
            **({"endpoint_url": spec["endpoint"]} if spec.get("endpoint") else {}),
            **(spec.get("options") or {}),
        )

    def full_path(self, spec: dict[str, Any], relpath: str) -> str:
        """``bucket/location/path``."""
        return _joined(spec, relpath)

    def get_url(self, spec: dict[str, Any], path: str) -> str:
        """Make a URL that any GCS client understands."""
        return f"gs://{path}"


def s3_filesystem(spec: Mapping[str, Any], *, storage_class: str | None) -> fsspec.AbstractFileSystem:
    """Make the filesystem of an S3 store, which writes objects of one storage class."""
    endpoint, region = _endpoint(spec)
    options: dict[str, Any] = {
        "key": spec.get("access_key") or None,
        "secret": spec.get("secret_key") or None,
        "token": spec.get("session_token") or None,
        "use_listings_cache": False,
    }
    if endpoint:
        options["endpoint_url"] = endpoint
    if region:
        options["client_kwargs"] = {"region_name": region}
    if storage_class:
        options["s3_additional_kwargs"] = {"StorageClass": storage_class}
    return fsspec.filesystem("s3", **{**options, **(spec.get("options") or {})})


def metadata_filesystem(backend: Any) -> fsspec.AbstractFileSystem:
    """Return the filesystem for the small files beside the chunks, which stay in STANDARD.

    An archived ``.zarray`` could not be opened, and cheaper classes bill at least 128 KiB per object.
    """
    if backend.protocol == S3Adapter.protocol and backend.spec.get("storage_class"):
        return s3_filesystem(backend.spec, storage_class=None)
    return backend.fs


def store_backend(store: str, config: Any) -> Any:
    """Return DataJoint's backend of a store; raise an error that names the store if it is unreachable."""
    from datajoint.hash_registry import get_store_backend

    try:
        return get_store_backend(store, config=config)
    except OSError as error:
        raise StoreUnavailableError(
            f"store {store!r} cannot be reached: {error}. Is the disk mounted, and the store's "
            f"location right?"
        ) from error


def storage_at(backend: Any, path: str, store: str = "") -> Storage:
    """Return the folder of a movie; chunks get the store's storage class, metadata the class STANDARD.

    Errors name the store as ``store``.
    """
    storage_class = backend.spec.get("storage_class") if backend.protocol == S3Adapter.protocol else None
    return Storage(
        metadata_filesystem(backend),
        backend._full_path(path),
        store=store,
        write_options={"StorageClass": storage_class} if storage_class else None,
    )


def _endpoint(spec: Mapping[str, Any]) -> tuple[str | None, str | None]:
    endpoint, region = spec.get("endpoint"), spec.get("region")
    if not endpoint:
        return None, region
    # Amazon's own address, used as an endpoint, would bind the client to us-east-1; AWS needs no endpoint.
    if amazon := re.fullmatch(r"(?:https?://)?s3(?:[.-]([a-z0-9-]+))?\.amazonaws\.com/?", endpoint):
        return None, region or amazon[1]
    if "://" in endpoint:
        return endpoint, region
    return f"{'https' if spec.get('secure', True) else 'http'}://{endpoint}", region


def _joined(spec: Mapping[str, Any], relpath: Any) -> str:
    location = str(spec.get("location") or "").strip("/")
    return "/".join(part for part in (spec["bucket"], location, str(relpath)) if part)
