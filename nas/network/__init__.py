"""The one network that runs supernets, sampled paths and derived networks, and what it costs."""
