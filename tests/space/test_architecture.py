"""Architectures: JSON there and back, words for people, names for modules."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import UserError
from nas.space.architecture import FORMAT_VERSION, Architecture, Choice, Step, tap_depth, tap_modality, tap_name
from search_spaces import layerwise

_names = st.text(st.characters(exclude_characters="@"), min_size=1, max_size=8)
_taps = st.builds(tap_name, _names, st.integers(0, 99))


@st.composite
def _architectures(draw: st.DrawFn) -> Architecture:
    """Of steps that read any taps and any earlier steps, with any of them as the output."""
    steps: list[Step] = []
    for name in draw(st.lists(_names, max_size=5, unique=True)):
        earlier = [step.name for step in steps]
        sources = st.one_of(_taps, st.sampled_from(earlier)) if earlier else _taps
        inputs = draw(st.lists(sources, max_size=3))
        add_to = draw(st.sampled_from([None, *earlier]))
        steps.append(Step(name, draw(_names), tuple(inputs), add_to))
    output = draw(st.sampled_from([None, *(step.name for step in steps)]))
    values = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), _names, st.lists(st.integers()).map(tuple))
    return Architecture(draw(_names), tuple(steps), output, tuple(draw(st.dictionaries(_names, values)).items()))


EXAMPLE = Architecture.chain(
    "layerwise",
    [
        ("fusion0", Choice("none")),
        ("fusion1", Choice("multiplicative", ("image@1", "audio@1"))),
        ("fusion2", Choice("carry", ("audio@2",))),
    ],
)


@given(_architectures())
def test_json_there_and_back_is_the_identity(architecture: Architecture) -> None:
    again = Architecture.from_json(architecture.to_json())
    assert again == architecture
    assert hash(again) == hash(architecture)


@given(_architectures())
def test_what_is_kept_is_live_and_spelled_in_one_way(architecture: Architecture) -> None:
    names = [step.name for step in architecture.steps]
    for place, step in enumerate(architecture.steps):
        assert step.inputs
        assert set(step.sources) <= set(names[:place])
    read = {source for step in architecture.steps for source in step.sources}
    assert read == set(names[:-1])  # all lead to the last one
    assert architecture.output == (names[-1] if names else None)
    assert replace(architecture) == architecture


def test_json_is_plain_and_has_a_version() -> None:
    assert json.loads(EXAMPLE.to_json()) == {
        "format_version": FORMAT_VERSION,
        "space": "layerwise",
        "options": {},
        "steps": [
            {"name": "fusion1", "operation": "multiplicative", "inputs": ["image@1", "audio@1"], "add_to": None},
            {"name": "fusion2", "operation": "carry", "inputs": ["audio@2"], "add_to": "fusion1"},
        ],
        "output": "fusion2",
    }


ONE, TWO, SUM = (Step(name, "mlp", ("a@0", "b@1")) for name in ("one", "two", "sum"))


@pytest.mark.parametrize(
    ("steps", "output", "kept"),
    [
        ((), None, ()),
        ((ONE,), None, ()),
        ((Step("idle", "none", ()), replace(ONE, add_to="idle")), "one", (ONE,)),
        ((ONE, Step("idle", "none", (), "one"), replace(TWO, add_to="idle")), "two", (ONE, replace(TWO, add_to="one"))),
        (
            (ONE, Step("idle", "none", (), "one"), Step("two", "carry", ("idle",))),
            "two",
            (ONE, Step("two", "carry", ("one",))),
        ),
        ((Step("idle", "none", ()), Step("reader", "mlp", ("idle", "a@0")), ONE), "reader", ()),
        ((ONE, Step("idle", "none", (), "one")), "idle", (ONE,)),
        ((ONE, TWO), "one", (ONE,)),
        ((ONE, TWO), "two", (TWO,)),
        ((TWO, ONE, Step("sum", "mlp", ("two", "one"))), "sum", (ONE, TWO, Step("sum", "mlp", ("two", "one")))),
    ],
)
def test_two_spellings_of_one_network_are_one_value(
    steps: tuple[Step, ...], output: str | None, kept: tuple[Step, ...]
) -> None:
    found = Architecture("space", steps, output)
    canonical = Architecture("space", kept, kept[-1].name if kept else None)
    assert found.steps == kept
    assert found == canonical
    assert hash(found) == hash(canonical)
    assert found.to_json() == canonical.to_json()


@pytest.mark.parametrize(
    ("steps", "output", "message"),
    [
        ((Step("one", "mlp", ("a@0", "two")), TWO), "one", "step 'one' reads 'two', which no earlier step offers"),
        ((replace(ONE, add_to="one"),), "one", "step 'one' reads 'one', which no earlier step offers"),
        ((ONE, ONE), "one", "step name 'one' is taken twice"),
        ((replace(ONE, name="a@0"),), "a@0", "step name 'a@0' is taken twice, or is that of a tap"),
        ((ONE,), "two", "output 'two' is no step"),
    ],
)
def test_steps_that_do_not_fit_are_refused(steps: tuple[Step, ...], output: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Architecture("space", steps, output)


def test_earlier_versions_still_load() -> None:
    nodes = [
        {"node": "fusion0", "operation": "none", "inputs": []},
        {"node": "fusion1", "operation": "multiplicative", "inputs": ["image@1", "audio@1"]},
        {"node": "fusion2", "operation": "carry", "inputs": ["audio@2"]},
    ]
    first = {"format_version": 1, "space": "layerwise", "nodes": nodes}
    assert Architecture.from_dict(first) == EXAMPLE
    alone = [{"operation": "none", "inputs": []}, {"operation": "carry", "inputs": ["image@1"]}, nodes[0]]
    gate = {"reads": ["image@0"], "routes": [alone, nodes]}
    dynamic = Architecture.from_dict({**first, "format_version": 2, "gate": gate})
    image = Architecture.chain("layerwise", [("fusion1", Choice("carry", ("image@1",)))])
    assert dynamic == Architecture.gated([image, EXAMPLE], ["image@0"])


STEP = {"name": "fusion0", "operation": "mlp", "inputs": ["a@0", "b@0"], "add_to": None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 4}, "format version 4, expected 3"),
        ({"format_version": 0}, "format version 0, expected 3"),
        ({"format_version": None}, "format version None"),
        ({"format_version": True}, "format version True"),
        ({"format_version": "1"}, "format version '1'"),
        ({"format_version": 1}, "lacks or garbles 'nodes'"),
        ({"space": None}, "garbles name None"),
        ({"options": None}, "garbles options, a table of at most 100"),
        ({"options": {"cells": {}}}, "garbles name a dict of 0"),
        ({"options": {"cells": [[1]]}}, r"garbles name \[1\]"),
        ({"options": {str(number): 1 for number in range(101)}}, "garbles options, a table of at most 100"),
        ({"steps": None}, "lacks or garbles"),
        ({"steps": {"fusion0": STEP}}, "lacks or garbles"),
        ({"steps": [{**STEP, "name": 0}]}, "garbles name 0"),
        ({"steps": [{**STEP, "operation": ["mlp"]}]}, r"garbles name a list of 1"),
        ({"steps": [{**STEP, "inputs": "a@0"}]}, "garbles inputs 'a@0'"),
        ({"steps": [{**STEP, "inputs": [0]}]}, "garbles name 0"),
        ({"steps": [{**STEP, "inputs": ["a@0"] * 1001}]}, "garbles inputs, at most 1000 of them"),
        ({"steps": [{**STEP, "inputs": ["a@-1"]}]}, "garbles tap 'a@-1'"),
        ({"steps": [{**STEP, "inputs": ["a@two"]}]}, "garbles tap 'a@two'"),
        ({"steps": [{**STEP, "inputs": ["a@1@2"]}]}, "garbles tap 'a@1@2'"),
        ({"steps": [{**STEP, "name": "a" * 1001}]}, "garbles name 'a{60}'…"),
        ({"steps": [STEP] * 10_001}, "garbles steps, a list of at most 10000"),
        ({"steps": [{"name": "fusion0", "operation": "mlp", "add_to": None}]}, "lacks or garbles 'inputs'"),
        ({"steps": [{**STEP, "add_to": 3}]}, "garbles name 3"),
        ({"steps": [{**STEP, "add_to": "fusion1"}]}, "reads 'fusion1', which no earlier step offers"),
        ({"output": 3}, "garbles name 3"),
        ({"output": "fusion1"}, "output 'fusion1' is no step"),
    ],
)
def test_a_garbled_architecture_is_refused(change: dict[str, Any], message: str) -> None:
    sound = {
        "format_version": FORMAT_VERSION,
        "space": "layerwise",
        "options": {},
        "steps": [STEP],
        "output": "fusion0",
    }
    assert Architecture.from_dict(sound).steps == (Step("fusion0", "mlp", ("a@0", "b@0")),)
    with pytest.raises(UserError, match=message) as caught:
        Architecture.from_dict({**sound, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["format_version", "space", "options", "steps", "output"])
def test_a_missing_field_is_named(key: str) -> None:
    values = EXAMPLE.to_dict()
    del values[key]
    with pytest.raises(UserError, match=key.replace("_", " ")):
        Architecture.from_dict(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        (EXAMPLE.to_json()[:-10], "cut off"),
        ("[" * 100_000, "not JSON"),
        ("9" * 5000, "not JSON"),
        ("[]", "format version None"),
        ("3", "format version None"),
    ],
)
def test_what_is_no_architecture_at_all_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Architecture.from_json(text)


def test_it_is_told_in_words() -> None:
    assert EXAMPLE.in_words() == "depth 1: image × audio; depth 2: audio alone"


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice("none"), "nothing"),
        (Choice("carry", ("image@3",)), "image@3 alone"),
        (Choice("additive", ("image@0", "audio@1", "words@2")), "image@0 + audio@1 + words@2"),
        (Choice("multiplicative", ("image@0", "audio@1")), "image@0 × audio@1"),
        (Choice("low_rank", ("image@0", "fusion0")), "low_rank(image@0, fusion0)"),
    ],
)
def test_a_choice_is_told_in_words(choice: Choice, words: str) -> None:
    assert choice.in_words() == words


def test_depths_are_told_unless_they_are_all_the_steps_own() -> None:
    crossed, other = (("image@0", "audio@3"), ("image@3", "audio@0"))
    one, two = (Architecture.chain("any", [("n", Choice("additive", inputs))]) for inputs in (crossed, other))
    assert (one.in_words(), two.in_words()) == ("image@0 + audio@3", "image@3 + audio@0")
    level = Architecture.chain("any", [("n", Choice("additive", ("image@3", "audio@3")))])
    assert level.in_words() == "depth 3: image + audio"


def test_steps_that_read_steps_are_told_by_name() -> None:
    steps = (Step("one", "additive", ("image@0", "audio@0")), Step("two", "mlp", ("one", "audio@1"), "one"))
    assert Architecture("any", steps, "two").in_words() == "one: image@0 + audio@0; two: mlp(one, audio@1) + one"


def test_what_is_read_is_known() -> None:
    assert EXAMPLE.taps() == ("image@1", "audio@1", "audio@2")
    assert EXAMPLE.modalities() == ("image", "audio")
    assert EXAMPLE.deepest() == {"image": 1, "audio": 2}
    assert EXAMPLE["fusion2"] == Step("fusion2", "carry", ("audio@2",), "fusion1")
    with pytest.raises(KeyError):
        EXAMPLE["fusion0"]


def test_a_choice_names_its_modalities_once() -> None:
    assert Choice("mlp", ("image@0", "image@1", "fusion0", "audio@0")).modalities == ("image", "audio")


@given(st.from_regex(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", fullmatch=True), st.integers(0, 99))
def test_a_taps_name_is_taken_apart_again(modality: str, depth: int) -> None:
    name = tap_name(modality, depth)
    assert (tap_modality(name), tap_depth(name)) == (modality, depth)


@pytest.mark.parametrize("names", [("image", "audio"), ("a", "a_1", "a_1_0"), tuple("abcdef")])
def test_keys_of_choices_are_identifiers_and_tell_them_apart(names: tuple[str, ...]) -> None:
    for node in layerwise(dict.fromkeys(names, 2)).nodes:
        keys = [choice.key for choice in node.choices]
        assert all(key.isidentifier() for key in keys)
        assert len(set(keys)) == len(keys)


def test_a_key_reads_well() -> None:
    assert Choice("mlp", ("image@1", "audio@1")).key == "mlp__image_1__audio_1"


def test_architectures_are_values() -> None:
    space = layerwise({"image": 2, "audio": 2})
    one, same = space.sample(random.Random(0)), space.sample(random.Random(0))
    assert one == same
    assert len({one, same, space.sample(random.Random(1))}) == 2
