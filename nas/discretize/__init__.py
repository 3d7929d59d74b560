"""From a supernet to one architecture: the read-out, and the tournament of trainings that decides."""
