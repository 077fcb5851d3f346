"""Commands for this machine: whether it works, how fast, and what is wrong with it."""
