"""Tests of `nas.network`."""
