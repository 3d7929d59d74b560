"""Tests of `nas.saved`."""
