"""Which routes a cascade tries."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch

from nas.network.cost import CostTable
from nas.routing.stages import every_stage, steepest, within
from nas.space.architecture import Architecture, Choice
from search_spaces import experts, layerwise

SPACE = layerwise({"image": 3, "audio": 3}, operations=["additive", "mlp"])
NOTHING = Choice("none")


def architecture(*choices: Choice) -> Architecture:
    return Architecture.chain("layerwise", tuple((f"fusion{depth}", choice) for depth, choice in enumerate(choices)))


def carry(tap: str) -> Choice:
    return Choice("carry", (tap,))


def join(operation: str, depth: int) -> Choice:
    return Choice(operation, (f"image@{depth}", f"audio@{depth}"))


LATE = architecture(NOTHING, NOTHING, join("mlp", 2))


def table(space: Architecture = LATE) -> CostTable:
    """An image costs 100 a layer, audio 10; nothing else costs anything."""
    taps = [f"{name}@{depth}" for name in ("image", "audio") for depth in range(3)]
    each = {"image": 100, "audio": 10}
    encoders = {tap: each[tap[:5]] * (1 + int(tap[-1])) for tap in taps}
    return CostTable(encoders, {}, dict.fromkeys(taps, 0), dict.fromkeys(taps, 1), defaultdict(int), 0)


def test_an_architecture_within_reach_keeps_what_is_there() -> None:
    found = architecture(join("mlp", 0), NOTHING, join("mlp", 2))
    told = {
        (0, -1): architecture(carry("image@0"), NOTHING, NOTHING),
        (0, 0): architecture(join("mlp", 0), NOTHING, NOTHING),
        (2, 0): architecture(join("mlp", 0), NOTHING, carry("image@2")),
        (2, -1): architecture(carry("image@0"), NOTHING, carry("image@2")),
        (2, 2): found,
    }
    for (image, audio), wanted in told.items():
        assert within(SPACE, found, {"image": image, "audio": audio}) == wanted


def test_a_modality_that_is_read_nowhere_is_added_where_its_deepest_tap_is() -> None:
    told = {
        (1, 1): architecture(NOTHING, join("additive", 1), NOTHING),
        (1, 2): architecture(NOTHING, carry("image@1"), carry("audio@2")),
        (0, 2): architecture(carry("image@0"), NOTHING, carry("audio@2")),
        (-1, 0): architecture(carry("audio@0"), NOTHING, NOTHING),
    }
    for (image, audio), wanted in told.items():
        assert within(SPACE, LATE, {"image": image, "audio": audio}) == wanted


def test_every_stage_is_cheaper_than_what_was_found_and_there_once() -> None:
    stages = every_stage(SPACE, LATE, table())
    assert len(stages) == 4 * 4 - 2  # without nothing, and the found architecture itself
    assert LATE not in stages
    experts_space = experts({"image": 3, "audio": 3})
    found = Architecture.chain("experts", ((experts_space.nodes[0].name, join("additive", 2)),))
    reads = [one.modalities() for one in every_stage(experts_space, found, table())]
    assert sorted(reads) == [("audio",), ("image",)]


@pytest.mark.parametrize(("count", "stages"), [(4, 2**4 - 2), (6, 2**6 - 2), (8, 7)])
def test_with_many_modalities_encoders_stop_in_fewer_places(count: int, stages: int) -> None:
    names = "abcdefgh"[:count]
    space = layerwise(dict.fromkeys(names, 3), operations=["additive"])
    taps = [f"{name}@{depth}" for name in names for depth in range(3)]
    encoders, nothing = {tap: 1 + int(tap[-1]) for tap in taps}, dict.fromkeys(taps, 0)
    cost = CostTable(encoders, {}, nothing, dict.fromkeys(taps, 1), defaultdict(int), 0)
    last = Choice("additive", tuple(f"{name}@2" for name in names))
    found = Architecture.chain("layerwise", (("fusion0", NOTHING), ("fusion1", NOTHING), ("fusion2", last)))
    every = every_stage(space, found, cost)
    assert all(one.taps() for one in every)
    if count == 4:  # every subset can be added, so that each is a stage of its own
        assert len(every) == stages
    assert 1 <= len(every) <= stages


def test_the_steepest_way_down_goes_on_from_what_is_there() -> None:
    cost = table()
    stages = every_stage(SPACE, LATE, cost)
    noise = torch.linspace(-0.01, 0.01, 50)
    losses = dict.fromkeys(stages, 3.0 + noise)
    wanted = [within(SPACE, LATE, {"image": image, "audio": audio}) for image, audio in ((-1, 2), (1, 2))]
    losses[wanted[0]] = 2.0 + noise  # 1.0 for 30
    losses[wanted[1]] = 1.0 + noise  # 1.0 for 200
    losses[within(SPACE, LATE, {"image": 1, "audio": 0})] = 0.9 + noise  # goes back on audio
    losses[within(SPACE, LATE, {"image": 0, "audio": 2})] = 1.99 + noise * torch.arange(50).fmod(2) * 100  # by luck
    assert steepest(stages, losses, torch.full((50,), 3.0) - noise, cost) == wanted
    assert steepest(stages, losses, torch.full((50,), 0.5), cost) == []
