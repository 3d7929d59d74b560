"""Tests of `nas.data.tables`."""
