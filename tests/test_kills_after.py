"""What is done with a finished run, killed at any moment, also while another process reads it, can be done again."""

from __future__ import annotations

import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

import nas
from tests.killed import RESULTS, SEARCH, Whole, assert_clean, results, run, whole_search
from tests.processes import KILLS, Command

pytestmark = pytest.mark.slow

OTHER = (*SEARCH, "--seed", "7")

RETRAIN = ("retrain", "run", "--seed", "4", "--checkpoint-every", "0s")

EXPORT = ("export", "run", "--format", "json", "--format", "graph", "--format", "card")

REPORT = ("report", "run")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return whole_search(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(tmp_path: Path, whole: Whole) -> Path:
    shutil.copytree(whole.folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill(command: Command, number: int, *, seconds: float, reading: Path | None = None) -> int:
    """Kills a command at a moment of the clock after it has loaded its modules, of which its memory tells.

    Args:
        command: A new interpreter.
        number: Decides the moment.
        seconds: The latest one.
        reading: A run that is read again and again until then: all of it comes, or an error of ours.

    Returns:
        How often it was read.
    """
    maps, turns = Path(f"/proc/{command.pid}/maps"), 0
    command.wait_for(lambda: "ft2font" in maps.read_text())  # of matplotlib, among the last to be loaded
    end = time.monotonic() + random.Random(number).uniform(0, seconds)
    while time.monotonic() < end and command.is_running():
        if reading is None:
            time.sleep(0.002)
            continue
        turns += 1
        with suppress(nas.UserError):
            nas.load_run(reading)
    command.send(signal.SIGKILL)
    assert command.ended().code in (-signal.SIGKILL, 0)
    return turns


@pytest.mark.parametrize("out", ["run", "again"])
def test_a_retraining_that_is_killed_goes_on_to_the_same_bytes(tmp_path: Path, whole: Whole, out: str) -> None:
    options = [*RETRAIN, *(["--out", out] if out != "run" else [])]
    for name in ("one", "other"):
        shutil.copytree(whole.folder, tmp_path / name)
    assert run(tmp_path / "one", *options).code == 0
    for moment in ((KILLS[0], 9), (KILLS[1], 15), (KILLS[0], 21)):
        killed = run(tmp_path / "other", *options, "--resume", kill=moment, fresh=True)
        assert killed.code == -signal.SIGKILL
        assert (tmp_path / "other" / "run" / "summary.json").exists()  # in place, too, the old one is still whole
    assert run(tmp_path / "other", *options, "--resume").code == 0
    one, other = ({name: (tmp_path / side / out / name).read_bytes() for name in RESULTS} for side in ("one", "other"))
    assert one == other
    ended = run(tmp_path / "other", *options, "--resume")
    assert (ended.code, ended.err) == (0, f"'{out}' is finished: nothing is left to do\n")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, whole: Whole) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("exported")
    shutil.copytree(whole.folder, folder, dirs_exist_ok=True)
    assert run(folder, *EXPORT).code == 0
    return files(folder / "run")


@pytest.mark.parametrize("number", range(4))
def test_an_export_that_is_killed_can_be_done_again(folder: Path, exported: dict[str, bytes], number: int) -> None:
    before = files(folder / "run")
    if number < 2:
        kill(Command(folder, EXPORT, fresh=True), number, seconds=0.5)
    else:
        assert run(folder, *EXPORT, kill=(KILLS[number % 2], number - 1), fresh=True).code == -signal.SIGKILL
    after = files(folder / "run")
    half = [name for name in after.keys() - before.keys() if not Path(name).name.startswith(".")]
    assert all(after[name] == exported[name] for name in half)  # each is whole or not there
    assert run(folder, *EXPORT).code == 0
    assert without_locks(files(folder / "run")) == without_locks(exported)


@pytest.mark.parametrize("name", ["python", "onnx"])
def test_an_export_of_a_network_that_is_killed_leaves_no_half_of_it(folder: Path, name: str) -> None:
    pytest.importorskip("onnxruntime")
    options = ("export", "run", "--format", name, "--out", "files")
    assert run(folder, *options, kill=(KILLS[1], 1), fresh=True).code == -signal.SIGKILL
    there = folder / "files"
    assert not there.exists() or [path for path in there.iterdir() if not path.name.startswith(".")] == []


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, whole: Whole) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("drawn")
    shutil.copytree(whole.folder, folder, dirs_exist_ok=True)
    assert run(folder, *REPORT).code == 0
    return files(folder / "run")


@pytest.mark.parametrize("number", range(4))
def test_a_report_that_is_killed_can_be_drawn_again(folder: Path, drawn: dict[str, bytes], number: int) -> None:
    if number < 2:
        kill(Command(folder, REPORT, fresh=True), number, seconds=2)
    else:
        assert run(folder, *REPORT, kill=(KILLS[number % 2], 3 * number), fresh=True).code == -signal.SIGKILL
    assert all(files(folder / "run")[name] == drawn[name] for name in RESULTS)
    assert run(folder, *REPORT).code == 0
    assert without_locks(files(folder / "run")) == without_locks(drawn)


def without_locks(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in found.items() if name != ".lock"}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, whole: Whole) -> Path:
    """The folder of a search of another seed."""
    folder = tmp_path_factory.mktemp("other")
    shutil.copytree(whole.folder, folder, dirs_exist_ok=True)
    assert run(folder, *OTHER, "--overwrite").code == 0
    return folder


@pytest.mark.parametrize("number", range(2))
def test_a_reader_sees_whole_runs_while_a_search_replaces_one_and_is_killed(
    folder: Path, whole: Whole, other: Path, number: int
) -> None:
    command = Command(folder, (*OTHER, "--overwrite"), fresh=True)
    assert kill(command, number, seconds=1.5 * whole.seconds, reading=folder / "run") > 0
    again = run(folder, *OTHER, "--resume")
    if again.code == 2:  # it was killed before it began: the old run is there as it was
        assert results(folder) == whole.results
        assert run(folder, *OTHER, "--overwrite").code == 0
    assert results(folder) == results(other)
    assert_clean(folder)


@pytest.mark.parametrize("number", range(2))
def test_a_reader_sees_whole_runs_while_one_is_retrained_in_place_and_it_is_killed(
    folder: Path, whole: Whole, number: int
) -> None:
    assert kill(Command(folder, RETRAIN, fresh=True), number, seconds=whole.seconds, reading=folder / "run") > 0
    assert run(folder, *RETRAIN, "--resume").code == 0
    assert_clean(folder)


@pytest.mark.parametrize("name", ["python", "torch", "onnx", "safetensors"])
def test_an_export_that_the_disk_has_no_room_for_is_one_line(folder: Path, name: str) -> None:
    ended = run(folder, "export", "run", "--format", name, file_bytes=3_000)
    assert ended.code == 2, ended.err
    assert ended.err.splitlines()[-1].startswith("fusenas: cannot write"), ended.err
    assert "Traceback" not in ended.err
