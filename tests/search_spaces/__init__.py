"""Tests of the search spaces and their candidate operations."""
