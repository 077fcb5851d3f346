"""A movie folder on any storage: its files, metadata, manifest and claims."""
