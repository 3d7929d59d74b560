"""A finished run and its network, read back from their files."""
