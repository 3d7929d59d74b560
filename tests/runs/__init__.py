"""Tests of `nas.runs`."""
