"""Tests of the encoders: one contract for all, and what is special to each."""
