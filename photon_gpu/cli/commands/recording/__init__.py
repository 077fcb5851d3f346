"""Commands for recordings in progress."""
