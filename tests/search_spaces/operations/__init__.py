"""Tests of the candidate operations: one contract for all, a known answer for each."""
