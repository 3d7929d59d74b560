"""Benchmarks: each is run by hand, says what it measures, and writes under `results/`."""
