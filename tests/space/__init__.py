"""Tests of `nas.space`."""
