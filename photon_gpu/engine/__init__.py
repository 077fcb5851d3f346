"""The engine: values of one chunk to bytes and back. It knows no files and no network."""
