"""Tests of `nas.objectives`."""
