"""Threads, scratch memory, stopwatches and checksums for the engine."""
