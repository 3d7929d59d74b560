"""Hostile values, and documents with one of them somewhere inside."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

NAMES = (
    "",
    " ",
    ".",
    "..",
    "../../outside/secret.txt",
    "/dev/zero",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "-rf",
    "--help",
    "class",
    "self",
    "forward",
    "__class__",
    "__init__",
    "None",
    "ｓｅｌｆ",
    "ﬁ",
    "é" * 300,
    "x" * 5000,
    "😀",
    "\u202eevil",
    "a\nb",
    "a\rb",
    "\x1b[31mred",
    "<script>alert(1)</script>",
    "'; import os; os.system('touch ran'); '",
    '"""',
    "{{ 7 * 7 }}",
    "[bold]x[/bold]",
    "[/red]",
    "\ud800",
    "\udcff",
    "$(touch ran)",
    "%s%n",
    "sound",
    "found",
)

NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 255, 20_000, 10**6, 2**31, 2**63, 10**18, 10**30, -(10**18)),
    *(0.5, -0.5, 48.5, 1e-300, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
)

OTHERS: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: True,
    lambda: False,
    list,
    dict,
    lambda: "yes",
    lambda: "1",
    lambda: [1],
    lambda: ["x"],
    lambda: {"a": 1},
    lambda: [[]],
    lambda: [None] * 10,
    lambda: list(range(3000)),
    lambda: ["x"] * 3000,
    lambda: _nested(50),
    lambda: _nested(900),
    lambda: {str(number): number for number in range(1000)},
)


def _nested(depth: int) -> Any:
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


def hostile(generator: random.Random) -> Any:
    """One hostile value."""
    match generator.randrange(3):
        case 0:
            return generator.choice(NAMES)
        case 1:
            return generator.choice(NUMBERS)
    return generator.choice(OTHERS)()


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything inside a document."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key)
            yield from places(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node[:20]):
            yield (*path, index)
            yield from places(value, (*path, index))


def mutated(document: Any, generator: random.Random) -> tuple[Any, str]:
    """A document with one change somewhere, and the change in words."""
    found = copy.deepcopy(document)
    all_places = list(places(found))
    if not all_places or generator.random() < 0.03:
        value = hostile(generator)
        return value, f"all of it = {_short(value)}"
    # Shallow places are as likely as the many deep ones.
    depth = generator.choice(sorted({len(place) for place in all_places}))
    *way, last = generator.choice([place for place in all_places if len(place) == depth])
    inner = found
    for key in way:
        inner = inner[key]
    where = ".".join(map(str, (*way, last)))
    match generator.randrange(8):
        case 0:
            del inner[last]
            return found, f"{where} taken away"
        case 1 if isinstance(inner[last], list) and inner[last]:
            times = generator.choice((2, 300, 3000))
            many = inner[last] * times
            inner[last] = many[:30_000]
            return found, f"{where} repeated to {len(inner[last])}"
        case 2 if isinstance(inner, dict):
            name = generator.choice(NAMES)
            inner[name] = inner.pop(last)
            return found, f"{where} renamed {_short(name)}"
        case 3 if isinstance(inner[last], dict) and inner[last]:
            name, value = generator.choice(list(inner[last].items()))
            for number in range(generator.choice((1, 100, 1000))):
                inner[last][f"{name}{number}"] = value
            return found, f"{where} with more like {name}"
        case 4 if isinstance(inner[last], int | float) and not isinstance(inner[last], bool):
            inner[last] = generator.choice(NUMBERS)
        case _:
            inner[last] = hostile(generator)
    return found, f"{where} = {_short(inner[last])}"


def as_json(document: Any, generator: random.Random) -> str:
    """JSON text, now and then with a trap that no document holds."""
    text = json.dumps(document, indent=generator.choice((None, 2)))
    match generator.randrange(40):
        case 0:
            return '{"format_version": 1, ' + text[1:] if text.startswith("{") else text
        case 1:
            return "[" * 100_000
        case 2:
            return '{"a":' * 50_000
        case 3:
            return "\ufeff" + text
        case 4:
            return text.replace(": 1", ": " + "9" * 5000, 1)
    return text


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) < 40 else f"{text[:37]}…"
