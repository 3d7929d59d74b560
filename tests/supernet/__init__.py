"""Tests of `nas.supernet`."""
