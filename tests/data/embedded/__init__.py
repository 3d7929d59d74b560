"""Tests of the files that the embedded sets come from."""
