"""The leaderboard, and how far it and its probabilities can be trusted."""
