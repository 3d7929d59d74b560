"""Tests of `nas.pipeline`."""
