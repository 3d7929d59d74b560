"""Architectures: JSON there and back, words for people, names for modules."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.architecture import FORMAT_VERSION, Architecture, Choice, tap_depth, tap_modality, tap_name
from nas.errors import UserError
from search_spaces import layerwise

_names = st.text(min_size=1, max_size=8)
_choices = st.builds(Choice, _names, st.lists(_names, max_size=3).map(tuple))
_architectures = st.builds(Architecture, _names, st.lists(st.tuples(_names, _choices), max_size=4).map(tuple))

EXAMPLE = Architecture(
    "layerwise",
    (
        ("fusion0", Choice("none")),
        ("fusion1", Choice("multiplicative", ("image@1", "audio@1"))),
        ("fusion2", Choice("carry", ("audio@2",))),
    ),
)


@given(_architectures)
def test_json_there_and_back_is_the_identity(architecture: Architecture) -> None:
    again = Architecture.from_json(architecture.to_json())
    assert again == architecture
    assert hash(again) == hash(architecture)


def test_json_is_plain_and_has_a_version() -> None:
    assert json.loads(EXAMPLE.to_json()) == {
        "format_version": FORMAT_VERSION,
        "space": "layerwise",
        "nodes": [
            {"node": "fusion0", "operation": "none", "inputs": []},
            {"node": "fusion1", "operation": "multiplicative", "inputs": ["image@1", "audio@1"]},
            {"node": "fusion2", "operation": "carry", "inputs": ["audio@2"]},
        ],
    }


NODE = {"node": "fusion0", "operation": "mlp", "inputs": ["a@0", "b@0"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 3}, "format version 3, expected 1"),
        ({"format_version": None}, "format version None"),
        ({"format_version": True}, "format version True"),
        ({"format_version": "1"}, "format version '1'"),
        ({"space": None}, "garbles name None"),
        ({"nodes": None}, "lacks or garbles"),
        ({"nodes": {"fusion0": NODE}}, "lacks or garbles"),
        ({"nodes": [{**NODE, "node": 0}]}, "garbles name 0"),
        ({"nodes": [{**NODE, "operation": ["mlp"]}]}, r"garbles name a list of 1"),
        ({"nodes": [{**NODE, "inputs": "a@0"}]}, "garbles inputs 'a@0'"),
        ({"nodes": [{**NODE, "inputs": [0]}]}, "garbles name 0"),
        ({"nodes": [{**NODE, "inputs": ["a@0"] * 1001}]}, "garbles inputs, at most 1000 of them"),
        ({"nodes": [{**NODE, "node": "a" * 1001}]}, "garbles name 'a{60}'…"),
        ({"nodes": [NODE] * 10_001}, "garbles nodes, a list of at most 10000"),
        ({"nodes": [{"node": "fusion0", "operation": "mlp"}]}, "lacks or garbles 'inputs'"),
    ],
)
def test_a_garbled_architecture_is_refused(change: dict[str, Any], message: str) -> None:
    sound = {"format_version": FORMAT_VERSION, "space": "layerwise", "nodes": [NODE]}
    assert Architecture.from_dict(sound).choices == (("fusion0", Choice("mlp", ("a@0", "b@0"))),)
    with pytest.raises(UserError, match=message) as caught:
        Architecture.from_dict({**sound, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["format_version", "space", "nodes"])
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
    assert EXAMPLE.in_words() == "depth 0: nothing; depth 1: image × audio; depth 2: audio alone"


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice("none"), "nothing"),
        (Choice("carry", ("image@3",)), "image alone"),
        (Choice("additive", ("image@0", "audio@1", "words@2")), "image + audio + words"),
        (Choice("multiplicative", ("image@0", "audio@1")), "image × audio"),
        (Choice("low_rank", ("image@0", "fusion0")), "low_rank(image, fusion0)"),
    ],
)
def test_a_choice_is_told_in_words(choice: Choice, words: str) -> None:
    assert choice.in_words() == words


def test_what_is_read_is_known() -> None:
    assert EXAMPLE.taps() == ("image@1", "audio@1", "audio@2")
    assert EXAMPLE.modalities() == ("image", "audio")
    assert EXAMPLE.deepest() == {"image": 1, "audio": 2}
    assert EXAMPLE["fusion2"] == Choice("carry", ("audio@2",))
    with pytest.raises(KeyError):
        EXAMPLE["fusion3"]


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
