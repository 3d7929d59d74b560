"""What the pages of all benchmarks say alike: what was measured, and where the figures come from."""

from __future__ import annotations

import os

from nas.summary import Provenance


def about(doc: str | None) -> str:
    """What a benchmark's docstring tells beside its first line and its command."""
    return (doc or "").split("\n\n", 2)[2].strip()


def origin_told(origin: Provenance) -> str:
    """Command, commit, date, hardware and load, with no full stop.

    Args:
        origin: As `nas.runs.provenance.provenance` returns it.
    """
    facts = f"{origin.started_at}, {origin.hardware}, load {os.getloadavg()[0]:.1f}"
    return f"`{origin.command}`, commit {origin.commit}, {facts}"
