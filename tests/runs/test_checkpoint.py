"""Where trainings keep their states: what comes back, what does not, and what is told in a line."""

from __future__ import annotations

import errno
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nas.runs.checkpoint
from nas.errors import UserError
from nas.network.fusion_network import FusionNetwork
from nas.runs.checkpoint import NOWHERE, Checkpoints, Slot, read_run, status
from nas.runs.serialization import pack
from nas.training.train import Trained, train
from tests.interruptions import Interrupted, interrupted_at, timeless
from tests.strategies.problems import CPU, TRAINING, same_tensors, tiny_problem

NEVER = 10**9

LONG = replace(TRAINING, epochs=12, patience=3)
"""Stops early: after the best of its epochs come three that are worse."""


def train_tiny(slot: Slot | None, records: list[Mapping[str, Any]], *, seed: int = 0) -> Trained[FusionNetwork]:
    problem = tiny_problem(training=LONG)
    network = problem.make_network(problem.space.restrict(problem.space.at((3, 4))))
    batches = problem.weights, problem.architecture
    task = problem.data.task
    return train(network, task, *batches, LONG, seed=seed, device=CPU, log=records.append, slot=slot)


def state_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.state"))


def test_a_training_goes_on_from_any_step_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[Mapping[str, Any]] = []
    with interrupted_at(monkeypatch, NEVER) as taken:
        wanted = train_tiny(None, records)
    assert 3 < wanted.num_epochs < LONG.epochs  # it stopped early
    for number in range(1, taken[0] + 1, 3):  # the first step of an epoch and the second take turns
        checkpoints = Checkpoints(tmp_path / str(number), every_seconds=0)
        checkpoints.__enter__()  # and never left, as when killed
        with interrupted_at(monkeypatch, number), pytest.raises(Interrupted):
            train_tiny(checkpoints.slot("one"), [])
        again: list[Mapping[str, Any]] = []
        found = train_tiny(Checkpoints(tmp_path / str(number)).slot("one"), again)
        assert same_tensors(found.network.state_dict(), wanted.network.state_dict())
        assert not found.network.training
        assert (found.num_epochs, found.architecture_loss, found.architecture_score) == (
            wanted.num_epochs,
            wanted.architecture_loss,
            wanted.architecture_score,
        )
        assert again == records


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_training_interrupted_between_two_epochs_goes_on(tmp_path: Path, epoch: int) -> None:
    records: list[Mapping[str, Any]] = []
    wanted = train_tiny(None, records)

    class Log(list[Mapping[str, Any]]):
        def append(self, record: Mapping[str, Any]) -> None:
            super().append(record)
            if record["epoch"] == epoch:
                raise Interrupted

    with pytest.raises(Interrupted), Checkpoints(tmp_path, every_seconds=1e9) as checkpoints:
        train_tiny(checkpoints.slot("one"), Log())
    again: list[Mapping[str, Any]] = []
    found = train_tiny(Checkpoints(tmp_path).slot("one"), again)
    assert same_tensors(found.network.state_dict(), wanted.network.state_dict())
    assert again == records


def test_a_finished_training_comes_back_without_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[Mapping[str, Any]] = []
    first = train_tiny(Checkpoints(tmp_path).slot("one", {"a": 1}), records)
    again: list[Mapping[str, Any]] = []
    with interrupted_at(monkeypatch, 1):
        second = train_tiny(Checkpoints(tmp_path).slot("one", {"a": 1}), again)
    assert same_tensors(first.network.state_dict(), second.network.state_dict())
    assert again == records
    assert second.num_epochs == first.num_epochs
    assert second.train_seconds == pytest.approx(first.train_seconds, abs=0.1)


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_training_whose_time_was_up_goes_on_where_there_is_time_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    records: list[Mapping[str, Any]] = []
    wanted = train_tiny(None, records)
    some: list[Mapping[str, Any]] = []
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "time_is_up", lambda _self: len(some) > epoch)
        cut = train_tiny(Checkpoints(tmp_path, every_seconds=1e9).slot("one"), some)
    assert (cut.num_epochs, len(some)) == (epoch + 1, epoch + 1)
    again: list[Mapping[str, Any]] = []
    found = train_tiny(Checkpoints(tmp_path).slot("one"), again)
    assert same_tensors(found.network.state_dict(), wanted.network.state_dict())
    assert again == records


@pytest.mark.parametrize("identity", [("other", 1), ("one", 2), ("one",), ("one", "1")])
def test_another_training_has_another_slot(tmp_path: Path, identity: tuple[Any, ...]) -> None:
    slot = Checkpoints(tmp_path).slot("one", 1)
    slot.finish(dict)
    assert Checkpoints(tmp_path).slot("one", 1).restore() == {}
    assert Checkpoints(tmp_path).slot(*identity).restore() is None


def test_states_are_written_when_their_time_has_come_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("nas.runs.checkpoint.time.monotonic", lambda: now[0])

    def on_disk() -> Any:
        return Checkpoints(tmp_path).slot("one").restore()

    checkpoints = Checkpoints(tmp_path, every_seconds=30)
    slot = checkpoints.slot("one")
    offered: list[float] = []
    for seconds, written in ((100, None), (129, None), (130, 2), (159, 2), (161, 4)):
        now[0] = seconds
        slot.offer(lambda: {"epoch": len(offered)})
        offered.append(seconds)
        assert on_disk() == (None if written is None else {"epoch": written})
    slot.offer(lambda: {"epoch": 5})
    checkpoints.flush()
    assert on_disk() == {"epoch": 5}
    slot.finish(lambda: {"epoch": 6})
    assert on_disk() == {"epoch": 6}


def test_a_state_that_is_finished_is_never_overwritten_by_an_older_one(tmp_path: Path) -> None:
    with pytest.raises(Interrupted), Checkpoints(tmp_path) as checkpoints:
        finish_and_interrupt(checkpoints.slot("one"))
    slot = Checkpoints(tmp_path).slot("one")
    assert slot.restore() == {"epoch": 2}
    assert slot.finished


def finish_and_interrupt(slot: Slot) -> None:
    slot.offer(lambda: {"epoch": 1})
    slot.finish(lambda: {"epoch": 2})
    raise Interrupted


@pytest.mark.parametrize("error", [Interrupted(), RuntimeError("out of memory"), OSError(errno.EIO, "broken")])
def test_what_stops_a_run_leaves_its_newest_state(tmp_path: Path, error: BaseException) -> None:
    def run() -> None:
        with Checkpoints(tmp_path, {"seed": 1}) as checkpoints:
            checkpoints.slot("one").offer(lambda: {"epoch": 1})
            raise error

    with pytest.raises(type(error)):
        run()
    assert Checkpoints(tmp_path).slot("one").restore() == {"epoch": 1}
    assert status(tmp_path) == "stopped"


def test_a_mistake_leaves_nothing_to_go_on_with(tmp_path: Path) -> None:
    def run() -> None:
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.slot("one").offer(lambda: {"epoch": 1})
            raise UserError("diverged")

    with pytest.raises(UserError, match="diverged"):
        run()
    assert state_files(tmp_path) == []


def test_a_run_that_ends_well_is_finished_and_its_states_are_gone(tmp_path: Path) -> None:
    assert status(tmp_path) == "absent"
    with Checkpoints(tmp_path, {"seed": 1}) as checkpoints:
        checkpoints.slot("one").finish(dict)
        checkpoints.slot("two").offer(dict)
        assert status(tmp_path) == "stopped"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert read_run(tmp_path) == {"format_version": 1, "finished": True, "run": {"seed": 1}}
    assert status(tmp_path) == "finished"


def test_a_full_disk_leaves_the_state_before_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def run() -> None:
        with Checkpoints(tmp_path, every_seconds=0) as checkpoints:
            slot = checkpoints.slot("one")
            slot.offer(lambda: {"epoch": 1})
            monkeypatch.setattr("os.fsync", full)
            slot.offer(lambda: {"epoch": 2})

    with pytest.raises(OSError, match="No space left"):
        run()
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".state"}
    assert Checkpoints(tmp_path).slot("one").restore() == {"epoch": 1}


def test_a_signal_is_still_a_signal_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def run() -> None:
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.slot("one").offer(dict)
            monkeypatch.setattr("os.fsync", full)
            raise Interrupted

    with pytest.raises(Interrupted):
        run()


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".one-0123.state.abcd_123.part").write_bytes(b"half")
    with Checkpoints(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_the_clock_goes_on_from_where_the_states_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("nas.runs.checkpoint.time.perf_counter", lambda: now[0])
    slot = Checkpoints(tmp_path, every_seconds=0).slot("one")
    now[0] += 40
    slot.offer(dict)
    now[0] = 5.0  # another process, whose clock begins elsewhere
    checkpoints = Checkpoints(tmp_path, every_seconds=0)
    began = checkpoints.now()
    slot = checkpoints.slot("one")
    now[0] += 1  # to load it
    slot.restore()
    assert slot.seconds() == 40
    now[0] += 10
    slot.finish(dict)
    assert checkpoints.now() - began == 50
    assert Checkpoints(tmp_path).slot("one").restore() == {}


def test_nowhere_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records: list[Mapping[str, Any]] = []
    with NOWHERE:
        slot = NOWHERE.slot("one")
        slot.keep(records.append)({"epoch": 1})
        assert slot.restore() is None
        slot.offer(lambda: pytest.fail("a state was made for nobody"))
        slot.finish(lambda: pytest.fail("a state was made for nobody"))
    assert records == [{"epoch": 1}]
    assert not list(tmp_path.iterdir())


def written(folder: Path) -> Path:
    """A state of the tiny training after one epoch."""

    class Log(list[Mapping[str, Any]]):
        def append(self, record: Mapping[str, Any]) -> None:
            if record["epoch"] == 1:
                raise Interrupted

    with pytest.raises(Interrupted), Checkpoints(folder) as checkpoints:
        train_tiny(checkpoints.slot("one"), Log())
    (path,) = state_files(folder)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.data())
def test_a_state_that_is_not_whole_is_one_line_that_tells_what_to_do(tmp_path: Path, data: st.DataObject) -> None:
    path = next(iter(state_files(tmp_path)), None) or written(tmp_path)
    whole = path.read_bytes()
    changed = bytearray(whole)
    if data.draw(st.booleans()):
        del changed[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        changed[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    with pytest.raises(UserError, match=r"one-.*\.state' cannot be gone on with: .* Remove this file, and") as caught:
        train_tiny(Checkpoints(tmp_path).slot("one"), [])
    assert "\n" not in str(caught.value)
    path.write_bytes(whole)


def test_without_the_damaged_file_the_training_begins_again(tmp_path: Path) -> None:
    written(tmp_path).unlink()
    found = train_tiny(Checkpoints(tmp_path).slot("one"), [])
    assert same_tensors(found.network.state_dict(), train_tiny(None, []).network.state_dict())


HOSTILE: dict[str, Mapping[str, Any]] = {
    "nothing": {},
    "no course": {"course": None},
    "another course": {"course": {"epoch": 1}},
    "no network": {"course": {"best_state": {}}},
    "words for tensors": {"course": {"best_state": {"head.scale": "one"}}},
    "another network": {"course": {"best_state": {"weight": torch.zeros(2)}}},
    "epochs in words": {"course": {"best_state": {}, "epochs": "1"}},
    "epochs of no end": {"course": {"best_state": {}, "epochs": math.inf}},
    "a best epoch to come": {"course": {"best_state": {}, "epochs": 1, "best_epoch": 2}},
}


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("case", HOSTILE)
def test_a_state_of_another_form_is_one_line(tmp_path: Path, case: str, finished: bool) -> None:
    slot = Checkpoints(tmp_path, every_seconds=0).slot("one")
    (slot.finish if finished else slot.offer)(lambda: HOSTILE[case])
    with pytest.raises(UserError, match="cannot be gone on with") as caught:
        train_tiny(Checkpoints(tmp_path).slot("one"), [])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "words", 1, [torch.zeros(3)], torch.zeros(3), {"state": {}}])
@pytest.mark.parametrize("part", ["network", "optimizer", "generator", "torch"])
def test_a_garbled_part_is_one_line(tmp_path: Path, part: str, value: Any) -> None:
    path = written(tmp_path)
    state = dict(Checkpoints(tmp_path).slot("one").restore() or {})
    path.unlink()
    Checkpoints(tmp_path, every_seconds=0).slot("one").offer(lambda: {**state, part: value})
    with pytest.raises(UserError, match="cannot be gone on with"):
        train_tiny(Checkpoints(tmp_path).slot("one"), [])


@pytest.mark.parametrize(
    "tree",
    [
        None,
        [],
        {"identity": ["one"]},
        {"identity": ["two"], "finished": False, "seconds": 0.0, "records": [], "state": {}},
        {"identity": ["one"], "finished": False, "seconds": "long", "records": [], "state": {}},
        {"identity": ["one"], "finished": False, "seconds": 0.0, "records": [1], "state": {}},
        {"identity": ["one"], "finished": False, "seconds": 0.0, "records": [], "state": 1},
    ],
)
def test_a_file_of_another_form_is_one_line(tmp_path: Path, tree: Any) -> None:
    slot = Checkpoints(tmp_path, every_seconds=0).slot("one")
    slot.offer(dict)
    (path,) = state_files(tmp_path)
    path.write_bytes(nas.runs.checkpoint._seal(pack(tree)))
    with pytest.raises(UserError, match="cannot be gone on with"):
        Checkpoints(tmp_path).slot("one").restore()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "none of ours"),
        ("{}", "none of ours"),
        ('{"format_version": 1, "finished": 1, "run": {}}', "none of ours"),
        ('{"format_version": 2, "finished": true, "run": {}}', "format version 2, expected 1"),
    ],
)
def test_what_says_nothing_of_its_run_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        status(tmp_path)
    assert "\n" not in str(caught.value)


def test_records_come_again_with_the_state_that_holds_them(tmp_path: Path) -> None:
    records: list[Mapping[str, Any]] = []
    slot = Checkpoints(tmp_path, every_seconds=0).slot("one")
    log = slot.keep(records.append)
    log({"epoch": 0, "seconds": 1.0, "loss": math.nan})
    slot.offer(dict)
    log({"epoch": 1})  # after the state, so it will be logged by whoever goes on
    again: list[Mapping[str, Any]] = []
    slot = Checkpoints(tmp_path).slot("one")
    log = slot.keep(again.append)
    slot.restore()
    log({"epoch": 1})
    assert str(timeless(again)) == str(timeless(records))
