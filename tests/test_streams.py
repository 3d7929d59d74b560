"""Names of streams and their taps, and what drawings make of them."""

from __future__ import annotations

import pytest

from nas.streams import (
    Wiring,
    identifier,
    joined_stream,
    joined_tap,
    num_taps,
    offers_tap,
    plain_taps,
    tap_in_words,
    tap_modalities,
    wiring,
)

DEPTHS = {"a": 3, "b": 2}

PLAIN, WEIGHED = (joined_stream("a", "b", weighed=weighed) for weighed in (False, True))


def test_names_say_all() -> None:
    assert (PLAIN, WEIGHED) == ("a+b", "a+se*b")
    assert [joined_tap(WEIGHED, joins) for joins in (-1, 0, 2)] == ["a+se*b@0", "a+se*b@1", "a+se*b@3"]
    assert (num_taps(PLAIN, DEPTHS), num_taps("a", DEPTHS)) == (4, 3)


@pytest.mark.parametrize(
    ("tap", "modalities", "words", "name", "shown"),
    [
        ("a@2", ("a",), "a@2", "a_2", Wiring(("a@2",))),
        ("a+b@0", ("a", "b"), "a@0 and b@0", "a_b_0", Wiring(("a@0", "b@0"))),
        ("a+b@1", ("a",), "a", "a_b_1", Wiring(("a@2",))),
        ("a+b@2", ("a", "b"), "a + b to depth 0", "a_b_2", Wiring(("a@2",), (("b@0", "a@0"),))),
        (
            "a+se*b@3",
            ("a", "b"),
            "a + SE(b) to depth 1",
            "a_se_b_3",
            Wiring(("a@2",), (("b@0", "a@0"), ("b@1", "a@1"))),
        ),
    ],
)
def test_a_tap_is_told(tap: str, modalities: tuple[str, ...], words: str, name: str, shown: Wiring) -> None:
    assert offers_tap(tap, DEPTHS)
    assert tap_modalities(tap) == modalities
    assert tap_in_words(tap) == words
    assert identifier(tap) == name
    assert wiring(tap, DEPTHS) == shown
    assert plain_taps([tap], DEPTHS) == (*shown.read, *(source for source, _ in shown.sums))


@pytest.mark.parametrize("tap", ["a@3", "a@x", "c@0", "a+b@4", "a+c@1", "a+a@1", "a+b+c@1", "a+b@x"])
def test_what_no_encoder_offers_is_known(tap: str) -> None:
    assert not offers_tap(tap, DEPTHS)


def test_a_step_is_no_tap() -> None:
    assert tap_in_words("step1") == "step1"
    assert wiring("a+b", DEPTHS) == Wiring(("a+b",))
