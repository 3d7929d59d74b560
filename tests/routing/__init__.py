"""Tests of nas.routing."""
