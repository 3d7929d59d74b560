"""Tests of what the command line needs of the terminal."""
