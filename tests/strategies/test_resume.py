"""Every strategy, stopped or killed in any of its steps, goes on to the same bits, and logs each record once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.runs.checkpoint import Checkpoints, _seal, _unseal
from nas.runs.serialization import pack, unpack
from nas.strategies import STRATEGIES, StrategyResult
from tests.interruptions import Interrupted, interrupted_at, timeless
from tests.strategies.problems import SEARCH, TRAINING, same_tensors, search_of, state_of, tiny_problem

NEVER = 10**9

UNEVEN = replace(TRAINING, epochs=3, batch_size=12)
"""Three steps pass over the weights split, two over the architecture split: an epoch ends within a pass over that."""


def explore(
    name: str, checkpoints: Checkpoints, *, kill: bool = False
) -> tuple[StrategyResult, list[Mapping[str, Any]]]:
    """Searches with checkpoints.

    Args:
        name: Of the strategy.
        checkpoints: Where states are.
        kill: Whether an interruption is one that leaves no time to write anything.
    """
    records: list[Mapping[str, Any]] = []
    problem = tiny_problem(training=UNEVEN, search=search_of(name), log=records.append)
    problem = replace(problem, checkpoints=checkpoints)
    if kill:
        checkpoints.__enter__()
        return STRATEGIES[name](problem), records
    with checkpoints:
        return STRATEGIES[name](problem), records


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_search_goes_on_from_any_step_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kill: bool
) -> None:
    with interrupted_at(monkeypatch, NEVER) as taken:
        wanted, records = explore(name, Checkpoints())
    # An epoch has an odd number of steps, so each of them has its turn; of the hundreds of 25 trainings only some.
    stride = max(2 if kill else 1, taken[0] // 5)
    for number in range(1, taken[0] + 1, stride):
        folder = tmp_path / str(number)
        # Killed, only what is on disk counts; stopped, only what is in memory does.
        every_seconds = 0.0 if kill else 1e9
        with interrupted_at(monkeypatch, number), pytest.raises(Interrupted):
            explore(name, Checkpoints(folder, every_seconds=every_seconds), kill=kill)
        with interrupted_at(monkeypatch, NEVER) as again:
            found, resumed_records = explore(name, Checkpoints(folder, every_seconds=every_seconds))
        assert same_tensors(state_of(found), state_of(wanted))
        assert (found.architecture, found.choice_weights, found.loss) == (
            wanted.architecture,
            wanted.choice_weights,
            wanted.loss,
        )
        assert timeless(resumed_records) == timeless(records)
        assert again[0] <= taken[0]
    assert again[0] < taken[0] / 2  # the last interruption came late, so most was there already


@pytest.mark.parametrize("name", ["sampled", "darts"])
def test_time_that_was_spent_before_a_stop_counts_towards_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    problem = tiny_problem(search=replace(SEARCH, length=4.0, budget_seconds=3600))
    checkpoints = Checkpoints(tmp_path, every_seconds=0)
    checkpoints.__enter__()
    with interrupted_at(monkeypatch, 4), pytest.raises(Interrupted):  # in the second epoch of eight
        STRATEGIES[name](replace(problem, checkpoints=checkpoints))
    for path in tmp_path.glob("*.state"):
        with path.open("rb") as file:
            tree = unpack(_unseal(file))
        path.write_bytes(_seal(pack({**tree, "seconds": 3601.0})))
    with interrupted_at(monkeypatch, 1):
        STRATEGIES[name](replace(problem, checkpoints=Checkpoints(tmp_path)))
