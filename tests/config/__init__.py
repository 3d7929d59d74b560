"""Tests of nas.config."""
