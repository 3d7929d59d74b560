"""Tests of `nas.discretize`."""
