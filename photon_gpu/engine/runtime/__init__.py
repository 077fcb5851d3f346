"""What the engine runs on: threads, scratch memory, stopwatches, checksums."""
