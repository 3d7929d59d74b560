"""The network that holds every choice, and what it thinks of its paths."""
