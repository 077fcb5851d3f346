"""Open a stored movie and read it: stabilized values, counts, frame times, export."""
