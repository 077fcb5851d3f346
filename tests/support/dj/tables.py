"""Declare tables for a test."""

from __future__ import annotations


def declare(schema, definition, name="Recording", base=None):
    """Declare a table in a schema, and return its class."""
    import datajoint

    return schema(type(name, (base or datajoint.Manual,), {"definition": definition}), context={})
