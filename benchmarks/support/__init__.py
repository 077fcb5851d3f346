"""What several measurements share; the other modules of benchmarks are commands."""
