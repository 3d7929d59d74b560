"""Folders from strangers: whatever stands in one, it is loaded as it was or refused in one line, and nothing is run."""

from __future__ import annotations

import builtins
import copy
import json
import os
import pickle
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

import nas
from nas.errors import UserError
from nas.routing.network import RoutedNetwork
from tests.helpers import contents
from tests.tiny_runs import dynamic_run, finished_run

FILES = ("summary.json", "config.toml", "weights.safetensors", "architecture.json")
"""All that loading, evaluating and exporting read."""


class Trap:
    """Unpickled, it would end the process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (66,)


HOSTILE_FILES = (
    b"",
    b"\0" * 64,
    b"\xff" * 64,
    pickle.dumps(Trap()),
    b"PK\x03\x04" + bytes(100),
    b"[" * 100_000,
    b"{}",
    b"null",
    b"9" * 5000,
    b"a = " + b"[" * 5000,
    (2**62).to_bytes(8, "little") + b"{}",
    (2).to_bytes(8, "little") + b"{}",
)

HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 10**30, 1e308, float("nan"), float("inf")),
    *(
        "",
        "x",
        "\n",
        "\0",
        "a\nb",
        "é\udc80",
        "../../etc/passwd",
        "/dev/zero",
        "/",
        "os.system",
        "__class__",
        "x" * 5000,
    ),
    *([], [[]], [None], {}, {"x": 1}, [1, 2, 3], ["image@0"], ["sound@0", "sight@99"], {"encoder": "pickle"}),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, only to be read."""
    folder = finished_run(tmp_path_factory).folder
    assert folder is not None
    return folder


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose architecture has a gate."""
    return dynamic_run(tmp_path_factory)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of what is read of it."""
    return copied(finished, tmp_path / "run")


def copied(run: Path, folder: Path) -> Path:
    """What is read of a run, in a new folder."""
    folder.mkdir()
    for name in FILES:
        shutil.copy(run / name, folder / name)
    return folder


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever unpickles or evaluates fails the test, but for Python reading the annotations of our own dataclasses."""
    evaluate = eval

    def never(*arguments: Any, **_options: object) -> object:
        if sys._getframe(1).f_globals["__name__"] == "typing":
            return evaluate(*arguments)
        raise AssertionError("something was unpickled or run")

    for module, name in (
        *((pickle, name) for name in ("load", "loads", "Unpickler")),
        (torch, "load"),
        (os, "system"),
        (builtins, "eval"),
    ):
        monkeypatch.setattr(module, name, never)
    yield
    monkeypatch.undo()


def assert_whole_or_refused(run: Path, original: nas.Run, out: Path) -> bool:
    """Loads, evaluates and exports; what comes out is the original's, or one line says why not.

    Returns:
        Whether it was loaded.
    """
    try:
        loaded = nas.load_run(run)
        assert loaded.architecture == original.architecture
        assert loaded.network.state_dict().keys() == original.network.state_dict().keys()
        for name, tensor in original.network.state_dict().items():
            assert torch.equal(loaded.network.state_dict()[name], tensor), name
    except UserError as error:
        assert_one_line(error)
        return False
    steps: tuple[Callable[[], Any], ...] = (
        lambda: nas.evaluate(run, device="cpu"),
        lambda: nas.export(run, ["json", "graph", "card"], out=out),
    )
    for step in steps:
        try:
            found = step()
            if isinstance(found, Mapping) and found["same_data"]:
                assert found["score"] == original.summary.leaderboard[0].scores[0]
                assert found["repeated"] == (found["recorded"] == found["score"])
        except UserError as error:
            assert_one_line(error)
    return True


def assert_one_line(error: UserError) -> None:
    message = str(error)
    assert message
    assert len(message) < 2000
    assert "\n" not in message


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes flipped, cut off, or replaced altogether."""
    kind = draw(st.sampled_from(["flip", "flip", "cut", "replace", "insert"]))
    if kind == "replace":
        return draw(st.sampled_from(HOSTILE_FILES) | st.binary(max_size=50))
    at = draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        return content[:at]
    if kind == "insert":
        return content[:at] + draw(st.binary(min_size=1, max_size=9)) + content[at:]
    changed = bytearray(content)
    changed[at] ^= draw(st.integers(1, 255))
    return bytes(changed)


@st.composite
def damaged_values(draw: st.DrawFn, values: Any) -> Any:
    """Plain values of which one, however deep, is hostile, missing or repeated."""
    changed = copy.deepcopy(values)
    outer: Any = changed
    key: Any = None
    inner = changed
    while isinstance(inner, dict | list) and inner:
        outer, key = inner, draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        inner = outer[key]
        if draw(st.integers(0, 4)) == 0:
            break
    match draw(st.sampled_from(["put", "put", "put", "drop"])):
        case "put":
            outer[key] = draw(st.sampled_from(HOSTILE_VALUES))
        case "drop":
            del outer[key]
    return changed


def without_none(values: Any) -> Any:
    """As TOML can hold it."""
    if isinstance(values, dict):
        return {str(key): without_none(value) for key, value in values.items() if value is not None}
    if isinstance(values, list):
        return [without_none(value) for value in values if value is not None]
    return values.encode(errors="replace").decode() if isinstance(values, str) else values


@st.composite
def damaged_file(draw: st.DrawFn, name: str, content: bytes) -> bytes:
    """A file of a run of which bytes, or values that are written anew, are not what they were."""
    if draw(st.booleans()):
        return draw(damaged_bytes(content))
    if name.endswith(".json"):
        return json.dumps(draw(damaged_values(json.loads(content)))).encode()
    if name.endswith(".toml"):
        values = without_none(draw(damaged_values(tomllib.loads(content.decode()))))
        return tomli_w.dumps(values).encode()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    description = draw(damaged_values(json.loads(header["__metadata__"]["fusenas"])))
    return save(load(content), metadata={"fusenas": json.dumps(description)})


def test_a_run_that_is_whole_is_loaded_and_repeats_its_score(run: Path, finished: Path, tmp_path: Path) -> None:
    assert assert_whole_or_refused(run, nas.load_run(finished), tmp_path / "out")
    found = nas.evaluate(run, device="cpu")
    assert found["repeated"]
    assert found["score"] == found["recorded"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_run_of_which_a_file_is_damaged_is_whole_or_refused(
    name: str, run: Path, finished: Path, tmp_path: Path
) -> None:
    counts = attacked(name, run, nas.load_run(finished), tmp_path / "out", examples=250)
    assert sum(counts.values()) >= 200
    assert counts[False] >= 40, counts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["summary.json", "weights.safetensors", "architecture.json"])  # the config is alike
def test_so_is_a_dynamic_one(name: str, dynamic: Path, tmp_path: Path) -> None:
    run, original = copied(dynamic, tmp_path / "run"), nas.load_run(dynamic)
    assert isinstance(original.network, RoutedNetwork)
    assert assert_whole_or_refused(run, original, tmp_path / "out")
    counts = attacked(name, run, original, tmp_path / "out", examples=30)
    assert counts[False] >= 5, counts


def attacked(name: str, run: Path, original: nas.Run, out: Path, *, examples: int) -> Mapping[bool, int]:
    """How often a run was loaded, and how often refused, of which one file was damaged in so many ways."""
    before = contents(run)
    counts = {True: 0, False: 0}

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(st.data())
    def attack(data: st.DataObject) -> None:
        (run / name).write_bytes(data.draw(damaged_file(name, before[name])))
        counts[assert_whole_or_refused(run, original, out)] += 1

    attack()
    return counts
