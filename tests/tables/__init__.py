"""Tests of `nas.tables`."""
