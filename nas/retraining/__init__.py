"""Everything on the leaderboard, trained from scratch under the same conditions."""
