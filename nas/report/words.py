"""An architecture in plain words: what is combined, how and at which layer, without the names that the code uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from nas.report.numbers import clean
from nas.space.architecture import Architecture, Cascading, Choice, tap_depth, tap_modality
from nas.space.operation import carries
from nas.streams import is_joined, joins_of, tap_modalities
from nas.summary import Advice

MOST_NAMED = 6
"""Of more modalities only the number is told."""

MOST_STEPS = 4
"""Of more steps or routes only the first ones are told."""

NAME_LENGTH = 40


def capital(sentence: str) -> str:
    """With its first letter a capital."""
    return sentence[:1].upper() + sentence[1:]


def listed(names: Sequence[str], *, last: str = "and") -> str:
    """Names as in a sentence: "image, sound and words"."""
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end


def advice_in_words(advice: Iterable[Advice]) -> list[str]:
    """A clause for every reason, with all that it speaks for: "… : try --objective residual or modality_dropout"."""
    by_reason: dict[str, list[str]] = {}
    for one in advice:
        by_reason.setdefault(one.because, []).append(one.objective)
    return [f"{reason}: try --objective {listed(objectives, last='or')}" for reason, objectives in by_reason.items()]


def modalities_in_words(names: Sequence[str]) -> str:
    """Such as "image and words", or "9 modalities" where there are many."""
    if len(names) > MOST_NAMED:
        return f"{len(names)} modalities"
    return listed([clean(name, NAME_LENGTH) for name in names]) if names else "nothing"


def how_in_words(architecture: Architecture, depths: Mapping[str, int], phrases: Mapping[str, str]) -> str:
    """When and how an architecture fuses, as an instruction: "multiply image and words at the last layer".

    Args:
        architecture: A dynamic one is told route by route.
        depths: For each modality, how many taps its encoder offers.
        phrases: Name of an operation to what it does, see `nas.space.operation.Operation.phrase`.
    """
    if architecture.gating is None:
        return _steps(architecture, depths, phrases)
    routes = [_steps(route, depths, phrases) for route in architecture.routes()]
    if len(routes) > MOST_STEPS:
        routes = [*routes[:MOST_STEPS], f"one of {len(routes) - MOST_STEPS} more routes"]
    if isinstance(architecture.gating, Cascading):
        return "; if unsure, ".join(routes)
    return listed(routes, last="or")


def separately_in_words(names: Sequence[str]) -> str:
    """A sum of single networks as an instruction.

    Args:
        names: Of its modalities; () where the sentence has named them.
    """
    each = f"each of {modalities_in_words(names)}" if names else "each"
    return f"train a network on {each} alone and add their answers"


def _steps(architecture: Architecture, depths: Mapping[str, int], phrases: Mapping[str, str]) -> str:
    """What one static architecture does, in order."""
    active = [step.choice for step in architecture.steps]
    if not active:
        return "use nothing"
    if all(carries(choice.operation) for choice in active):
        return _carried(active, depths)
    told = [
        _step(choice, depths, phrases, _results(architecture, number), is_first=number == 0)
        for number, choice in enumerate(active)
    ]
    if len(told) > MOST_STEPS:
        told = [*told[:MOST_STEPS], f"{len(told) - MOST_STEPS} more steps"]
    return ", then ".join(told)


def _carried(active: Sequence[Choice], depths: Mapping[str, int]) -> str:
    """Where nodes only carry taps, their sum is all there is."""
    taps = [tap for choice in active for tap in choice.inputs]
    if any(map(is_joined, taps)):
        return " and ".join(_joined(tap) for tap in taps)
    names = list(dict.fromkeys(map(_name, taps)))
    if len(names) == 1:
        where = "" if len(taps) == 1 and _is_last(taps[0], depths) else f" ({_layers(taps, depths)})"
        return f"use {names[0]} alone{where}"
    return f"add {listed([f'{_name(tap)} ({_layers([tap], depths)})' for tap in taps])}"


def _joined(tap: str) -> str:
    """What one tap is of a modality into whose encoder another one may be added."""
    main, *added = (clean(name, NAME_LENGTH) for name in tap_modalities(tap))
    last = joins_of(tap_depth(tap)) - 1
    if not added:
        return f"use {main} alone"
    where = f"layer {last}" if last == 0 else f"each layer up to {last}"
    return f"add {added[0]} into the encoder of {main} after {where}"


def _results(architecture: Architecture, number: int) -> Mapping[str, str]:
    """What the results of earlier steps are called in a step that reads them, by its number from 0."""
    places = {step.name: place for place, step in enumerate(architecture.steps)}
    read = [name for name in architecture.steps[number].inputs if name in places]
    if [places[name] for name in read] == [number - 1]:
        return dict.fromkeys(read, "the result")
    return {name: f"the result of step {places[name] + 1}" for name in read}


def _step(
    choice: Choice, depths: Mapping[str, int], phrases: Mapping[str, str], results: Mapping[str, str], *, is_first: bool
) -> str:
    names = [results[name] if name in results else _name(name) for name in choice.inputs]
    if carries(choice.operation):
        verb = "take" if is_first else "add"
        return f"{verb} {names[0]} {_where(choice.inputs, depths)}"
    phrase = phrases.get(choice.operation) or f"combine {{all}} by {clean(choice.operation).replace('_', ' ')}"
    known = {"{all}": modalities_in_words(names), "{first}": names[0], "{rest}": modalities_in_words(names[1:])}
    for slot, words in known.items():
        phrase = phrase.replace(slot, words)
    return f"{phrase} {_where(choice.inputs, depths)}".rstrip()


def _name(tap: str) -> str:
    """The modality of a tap."""
    return clean(tap_modality(tap), NAME_LENGTH)


def _where(taps: Sequence[str], depths: Mapping[str, int]) -> str:
    """At which layer taps are read; "" where there is but one."""
    read = [tap for tap in taps if "@" in tap and depths.get(tap_modality(tap), 1) > 1]
    places = [_layers([tap], depths) for tap in read]
    if len(set(places)) < 2:
        return f"at the {places[0]}" if places else ""
    return f"({', '.join(f'{_name(tap)} at the {place}' for tap, place in zip(read, places, strict=True))})"


def _layers(taps: Sequence[str], depths: Mapping[str, int]) -> str:
    """Such as "first layer", or "layers 0 and 2"; numbers count from 0, as in the figures."""
    if len(taps) > 1:
        return f"layers {listed([str(depth) for depth, _ in groupby(sorted(map(tap_depth, taps)))])}"
    (tap,) = taps
    depth, count = tap_depth(tap), depths.get(tap_modality(tap), 1)
    if count == 1:
        return "only layer"
    if depth in (0, count - 1):
        return "first layer" if depth == 0 else "last layer"
    return "middle layer" if 2 * depth == count - 1 else f"layer {depth} of 0 to {count - 1}"


def _is_last(tap: str, depths: Mapping[str, int]) -> bool:
    return tap_depth(tap) == depths.get(tap_modality(tap), 1) - 1
