"""The architecture as JSON, with the data it is for, the scores it reached and where they come from."""

from __future__ import annotations

from typing import Any

from nas.records import plain
from nas.summary import Summary

_FIELDS = (
    "in_words",
    "interaction_order",
    "encoders",
    "depths",
    "data",
    "metric",
    "higher_is_better",
    "verdict",
    "seeds",
    "command",
    "commit",
    "versions",
    "hardware",
    "started_at",
)


_SCORE = ("mean", "low", "high", "scores", "metrics", "parameters", "multiply_adds")


def to_json(summary: Summary) -> dict[str, Any]:
    """What stands in the exported `architecture.json`.

    It is a superset of `Architecture.to_dict`, so `Architecture.from_json` reads it.

    Args:
        summary: Of the run.
    """
    told, found = plain(summary), plain(summary.saved)
    return {
        **told["architecture"],
        **{key: told[key] for key in _FIELDS},
        "score": {key: found[key] for key in _SCORE},
    }
