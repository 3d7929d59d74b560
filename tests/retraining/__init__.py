"""Tests of `nas.retraining`."""
