"""``photon-gpu gc``: find and delete movies that no row of a DataJoint database refers to."""

from __future__ import annotations

import logging
import os
from typing import Annotated

import typer

from photon_gpu.cli import console
from photon_gpu.cli.options.running import Debug, Json
from photon_gpu.cli.options.values import json_file, read_number


def gc(
    schema: Annotated[
        str, typer.Argument(metavar="SCHEMA", help="Name of the schema to search.", show_default=False)
    ],
    delete: Annotated[
        bool,
        typer.Option(
            "--delete", metavar="", help="Delete the movies; without this option nothing is deleted."
        ),
    ] = False,
    store: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Search only this store. May be repeated.", show_default="all configured"
        ),
    ] = None,
    stores_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="JSON file of stores in the form of photon_gpu.dj.stores, in addition to datajoint.json. "
            "It is needed to find movies that were inserted with photon_gpu.dj.stores.",
            show_default=False,
        ),
    ] = None,
    grace_hours: Annotated[
        str, typer.Option(metavar="HOURS", help="Do not delete movies that changed within this many hours.")
    ] = "24",
    dropped_tables: Annotated[
        bool,
        typer.Option("--dropped-tables", metavar="", help="Also find movies of tables that no longer exist."),
    ] = False,
    only_this_database: Annotated[
        bool,
        typer.Option(
            "--only-this-database",
            metavar="",
            help="Confirm once that no database of another server stores movies in these stores.",
        ),
    ] = False,
    ignore_database: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Skip this database, which cannot be read and refers to no movie. May be repeated.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Find movies that no DataJoint row refers to; delete them with --delete.

    The database and its stores are those of datajoint.json and the environment (DJ_HOST, DJ_STORES, ...).
    Recent, unknown and doubtful files are not deleted, and the report says why.

    For example:
      photon-gpu gc calcium_imaging --stores-file stores.json
      photon-gpu gc calcium_imaging --stores-file stores.json --delete
    """
    # Without this, messages of DataJoint would precede the report on stdout.
    os.environ.setdefault("DJ_LOG_STREAM", "stderr")
    from photon_gpu.dj import collect, stores

    logging.getLogger("datajoint").handlers.clear()  # Its warnings are shown like those of other libraries.
    if stores_file is not None:
        stores(json_file(stores_file))
    result = collect(
        schema,
        stores=store or None,
        dry_run=not delete,
        grace_hours=read_number(grace_hours),
        dropped_tables=dropped_tables,
        only_this_database=only_this_database,
        ignore_databases=ignore_database or (),
    )
    return console.Text(
        result,
        console.spoken(result.text()),
        exit_code=int(result.count("failed") > 0 or bool(result.refusals)),
    )
