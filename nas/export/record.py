"""The architecture as JSON, with the data it is for, the scores it reached and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.load import saved_row

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


def to_json(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the exported `architecture.json`.

    It is a superset of `Architecture.to_dict`, so `Architecture.from_json` reads it.

    Args:
        summary: Of the run.
    """
    found = saved_row(summary)
    scores = {key: found[key] for key in ("mean", "low", "high", "scores", "metrics", "parameters", "multiply_adds")}
    return {**summary["architecture"], **{key: summary.get(key) for key in _FIELDS}, "score": scores}
