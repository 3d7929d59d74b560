"""Tests of `nas.evaluation`."""
