"""What a setting may hold: sane values pass, and everything else is told in one line before it costs anything."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nas import SearchConfig, TrainingConfig, UserError
from nas.fields import AMOUNT, POSITIVE, SHARE, Flag, Form, Number, Several, Text, Whole, make_config, told
from nas.training.build import build_network
from search_spaces import layerwise
from tests.tiny_runs import as_data, tiny_arrays

GARBAGE: tuple[Any, ...] = (None, "3", "yes", b"3", [], {}, 3j, object(), math.nan)


@pytest.mark.parametrize(
    ("form", "allowed", "refused"),
    [
        (Whole(1, 8), (1, 8, np.int64(3)), (0, 9, -1, 48.5, 3.0, True, math.inf, 10**400, *GARBAGE)),
        (AMOUNT, (0, 0.0, 1e-9, 1e300, np.float32(2)), (-1e-9, math.inf, True, *GARBAGE)),
        (POSITIVE, (1e-30, 3), (0, -1, math.inf, *GARBAGE)),
        (SHARE, (0, 0.999), (1, -0.1, 10**400, *GARBAGE)),
        (Number("up to 1", high=1.0, below=False), (0, 1, 1.0), (1.001, *GARBAGE)),
        (Flag(), (True, False), (0, 1, "true", "yes", *GARBAGE)),
        (Text(3), ("", "abc"), ("abcd", None, 3, b"abc", ["a"])),
        (Several(Whole(1, 8), 1, 3), ([1], (1, 2, 8)), ([], [9], [1, 2, 3, 4], [1.0], "1", {1: 1}, 1, [[1]], None)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_form_tells_sane_values_from_others(form: Form, allowed: tuple[Any, ...], refused: tuple[Any, ...]) -> None:
    assert [value for value in allowed if not form.allows(value)] == []
    assert [value for value in refused if form.allows(value)] == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (48.5, "48.5"),
        (True, "True"),
        ("yes", "'yes'"),
        ([1, 2.5], "[1, 2.5]"),
        (10**400, "a number of more than 30 digits"),
        ("x" * 10**6, f"{'x' * 60!r}…"),
        (["x" * 10**6] * 2, "a list of 2"),
        ([1] * 10**6, "a list of 1000000"),
        ({"a": 1}, "a dict of 1"),
        (3j, "a complex"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_whatever_was_given_is_told_in_short(value: Any, words: str) -> None:
    assert told(value) == words


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (
            TrainingConfig,
            {"channels": 20_000},
            "channels must be at least 1, at most 8192, and a whole number, got 20000",
        ),
        (TrainingConfig, {"channels": 48.5}, "channels must be .* a whole number, got 48.5; 48 is the default"),
        (TrainingConfig, {"channels": True}, "channels must be .*got True"),
        (TrainingConfig, {"compile": "yes"}, "compile must be true or false, got 'yes'; False is the default"),
        (TrainingConfig, {"compile": 1}, "compile must be true or false, got 1"),
        (TrainingConfig, {"epochs": 1e3}, "epochs must be .*got 1000.0"),
        (TrainingConfig, {"epochs": 10**30}, "epochs must be .*a number of more than 30 digits"),
        (TrainingConfig, {"batch_size": "64"}, "batch_size must be .*got '64'"),
        (TrainingConfig, {"learning_rate": "fast"}, "learning_rate must be positive.*got 'fast'"),
        (TrainingConfig, {"patience": math.inf}, "patience must be .*got inf"),
        (TrainingConfig, {"objective": 5}, "objective must be a text"),
        (TrainingConfig, {"objective": "a" * 10**6}, "objective must be a text of at most 1000 characters"),
        (TrainingConfig, {"gate": ["soft"]}, "gate must be one of soft, gumbel, reinforce, got a list of 1"),
        (TrainingConfig, {"cost_weight": math.inf}, "cost_weight must be 0 or more, and finite, got inf"),
        (TrainingConfig, {"chanels": 4}, "unknown setting 'chanels'; did you mean 'channels'"),
        (TrainingConfig, ["channels"], "settings must be a table of names and values, got a list of 1"),
        (TrainingConfig, None, "settings must be a table"),
        (SearchConfig, {"guards": "no"}, "guards must be true or false, got 'no'"),
        (SearchConfig, {"length": math.inf}, "length must be 0 .*got inf"),
        (SearchConfig, {"max_trials": 2.0}, "max_trials must be .*got 2.0"),
        (SearchConfig, {"budget_seconds": math.nan}, "budget_seconds must be .*got nan"),
        (SearchConfig, {"architecture_learning_rate": 0}, "architecture_learning_rate must be positive"),
        (SearchConfig, {"architecture_weight_decay": "0"}, "architecture_weight_decay must be 0 or more"),
    ],
)
def test_settings_of_another_form_are_told_in_one_line(kind: type[Any], values: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make_config(kind, values)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "make",
    [
        lambda: TrainingConfig(epochs=10**12, batch_size=10**6, patience=10**6, channels=4096, learning_rate=1),
        lambda: TrainingConfig(gradient_clip=math.inf, weight_decay=0, dropout_rate=0, compile=True),
        lambda: SearchConfig(length=3, max_trials=10**6, budget_seconds=math.inf, guards=False),
    ],
)
def test_settings_that_are_only_unusual_are_taken(make: Callable[[], Any]) -> None:
    assert make()


def test_a_network_beyond_all_memory_is_refused_before_it_is_built() -> None:
    data = as_data(tiny_arrays())
    space = layerwise(dict.fromkeys(data.modalities, 3))
    # Of both sizes the supernet would have 2.5 and 9.9 GB of weights; the derived network of one node has little.
    for channels in (2048, 8192):
        with pytest.raises(UserError, match=rf"a network of {channels} channels would have .* choose fewer channels"):
            build_network(space, data, TrainingConfig(channels=channels))
    late = space.only(next(one for one in space.references if one.kind == "late").architecture)
    assert build_network(late, data, TrainingConfig(channels=2048)).channels == 2048
