"""Tests of the data: arrays, files, splits, embedded sets."""
