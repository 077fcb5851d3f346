"""Tools around the engine: demo, storage cost, profiling."""
