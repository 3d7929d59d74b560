"""Blueprints from a file may hold anything; what they cannot build is told in one line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from nas.encoders import from_blueprint
from nas.errors import UserError

VECTOR = {"encoder": "vector", "features": 3, "widths": [4, 4], "dropout_rate": 0.1}
SEQUENCE = {"encoder": "sequence", "features": 3, "widths": [4], "kernel_size": 3, "dropout_rate": 0.1, "peaks": True}
TOKENS = {"encoder": "tokens", "vocabulary": 5, "widths": [4, 4], "dropout_rate": 0.1}
MAP = {"encoder": "map", "shape": [1, 4, 4], "widths": [4], "dropout_rate": 0.1}
BINS = {**VECTOR, "bins": 4}
MAGNITUDES = {**SEQUENCE, "magnitudes": True}
FEATURES = {"encoder": "features", "shapes": [[3], [2, 3], [2, 4, 4]]}
FROZEN = {"encoder": "frozen", "inner": VECTOR, "features": {"encoder": "features", "shapes": [[1, 4], [1, 4]]}}


@pytest.mark.parametrize("blueprint", [VECTOR, BINS, SEQUENCE, MAGNITUDES, TOKENS, MAP, FEATURES, FROZEN], ids=str)
def test_the_examples_below_are_sound_until_they_are_garbled(blueprint: Mapping[str, Any]) -> None:
    assert from_blueprint(blueprint).blueprint == blueprint


def test_sequence_encoders_of_earlier_runs_have_no_peaks() -> None:
    old = from_blueprint({name: value for name, value in SEQUENCE.items() if name != "peaks"})
    assert old.channels == (4,)
    assert from_blueprint(SEQUENCE).channels == (8,)


@pytest.mark.parametrize(
    "blueprint",
    [
        {**VECTOR, "features": -1},
        {**VECTOR, "features": "3"},
        {**VECTOR, "features": None},
        {**VECTOR, "features": 10**14},
        {**VECTOR, "features": 10**30},
        {**VECTOR, "features": 3.0},
        {**VECTOR, "features": True},
        {**VECTOR, "features": math.nan},
        {**VECTOR, "features": 0},
        {**VECTOR, "widths": [4.0]},
        {**VECTOR, "widths": [2**17]},
        {**VECTOR, "widths": [1] * 65},
        {**VECTOR, "widths": "444"},
        {**VECTOR, "dropout_rate": "0.1"},
        {**VECTOR, "dropout_rate": math.nan},
        {**VECTOR, "bins": 0},
        {**VECTOR, "bins": 10**6},
        {**VECTOR, "bins": True},
        {**VECTOR, "magnitudes": True},
        {**SEQUENCE, "magnitudes": 1},
        {**SEQUENCE, "bins": 4},
        {**SEQUENCE, "kernel_size": 10**6},
        {**TOKENS, "vocabulary": 10**12},
        {**TOKENS, "vocabulary": 2.5},
        {**MAP, "shape": {"0": 1, "1": 4, "2": 4}},
        {**FEATURES, "shapes": [[3]] * 513},
        {**FEATURES, "shapes": [[1, 2, 3, 4]]},
        {**VECTOR, "widths": 4},
        {**VECTOR, "widths": [-4]},
        {**VECTOR, "widths": ["4"]},
        {**VECTOR, "dropout_rate": 2},
        {**VECTOR, "surprise": 1},
        {"encoder": "vector"},
        {**SEQUENCE, "kernel_size": -3},
        {**TOKENS, "vocabulary": 0},
        {**TOKENS, "widths": []},
        {**MAP, "shape": []},
        {**MAP, "shape": [1, 4]},
        {**FEATURES, "shapes": [[]]},
        {**FEATURES, "shapes": [3]},
        {**FEATURES, "shapes": [[-3]]},
        {**FROZEN, "features": VECTOR},
        {**FROZEN, "inner": {**VECTOR, "features": -1}},
        {**FROZEN, "inner": None},
        {"encoder": "frozen"},
        {"encoder": "joined", "main": VECTOR, "second": VECTOR, "weighed": False},
        {"encoder": "joined", "main": MAP, "second": SEQUENCE, "weighed": False},
        {"encoder": "joined", "main": MAP, "second": MAP, "weighed": 1},
    ],
    ids=str,
)
def test_a_garbled_blueprint_is_refused(blueprint: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"the blueprint of a {blueprint['encoder']} encoder is garbled"):
        from_blueprint(blueprint)


@pytest.mark.parametrize(
    "blueprint",
    [
        {**VECTOR, "widths": [2**16, 2**16]},  # 17 GB
        {**VECTOR, "features": 10**7, "bins": 1024},
        {**TOKENS, "vocabulary": 2**30, "widths": [100]},  # 430 GB
        {**SEQUENCE, "widths": [2**16] * 64, "kernel_size": 1023},
    ],
    ids=lambda blueprint: blueprint["encoder"],
)
def test_what_no_memory_holds_is_refused_before_it_is_built(blueprint: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"asks for [\d,]+ numbers, more than 1,073,741,824"):
        from_blueprint(blueprint)


def test_encoders_within_encoders_have_an_end() -> None:
    blueprint: dict[str, Any] = VECTOR
    for _ in range(10_000):
        blueprint = {**FROZEN, "inner": blueprint}
    with pytest.raises(UserError, match="holds others more than 4 deep"):
        from_blueprint(blueprint)


@pytest.mark.parametrize("blueprint", [None, 5, "vector", [["encoder"]]])
def test_what_is_no_blueprint_at_all_is_refused(blueprint: Any) -> None:
    with pytest.raises(UserError, match="the blueprint of a None encoder is garbled"):
        from_blueprint(blueprint)


@pytest.mark.parametrize(
    ("kind", "message"), [("vectr", "did you mean 'vector'"), (None, "'None'"), (["map"], "a list of 1")]
)
def test_an_unknown_kind_lists_the_known_ones(kind: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"unknown encoder .*{message}.* Known: features, frozen, imported, joined"):
        from_blueprint({"encoder": kind})
