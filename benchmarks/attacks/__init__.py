"""Attacks on the command line and the library: see `python -m benchmarks.attacks --help`."""
