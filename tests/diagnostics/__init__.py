"""Tests of the diagnostics of trained networks."""
