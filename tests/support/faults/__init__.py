"""Disks, networks and object stores that fail, and recordings that are killed or interrupted."""
