"""Tests of `nas.training`."""
