"""Searches in new interpreters, killed at any moment, stopped by signals or out of room, go on to the same bytes."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.runs.checkpoint import Checkpoints
from tests.killed import SEARCH, Whole, assert_clean, results, run, whole_search
from tests.processes import KILLS, Command, Ended
from tests.tiny_runs import write_npz

pytestmark = pytest.mark.slow


def states(folder: Path) -> dict[str, bytes]:
    """What there is to go on with."""
    return {path.name: path.read_bytes() for path in (folder / "run" / "checkpoints").glob("[!.]*")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return whole_search(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_npz(tmp_path)
    return tmp_path


@pytest.mark.parametrize("number", range(8))
def test_a_search_killed_at_any_moment_goes_on_to_the_same_bytes(folder: Path, whole: Whole, number: int) -> None:
    generator = random.Random(number)
    if number < 4:  # at a moment of the clock, otherwise within the writing of a file
        killed = Command(folder, SEARCH, fresh=True)
        if number > 0:  # at first an interpreter only loads modules, for longer than all else takes
            killed.wait_for((folder / "run" / "config.toml").exists)
        killed.wait(generator.uniform(0, whole.seconds))
        killed.send(signal.SIGKILL)
        assert killed.ended().code in (-signal.SIGKILL, 0)
    else:
        last = (whole.writes, whole.renames)[number % 2]
        first = 1 if number < 6 else last - 9  # the last ones write what the run came to
        moment = KILLS[number % 2], generator.randint(first, last)
        assert run(folder, *SEARCH, kill=moment, fresh=True).code == -signal.SIGKILL
    ended = run(folder, *SEARCH, "--resume")
    assert ended.code == 0, ended.err
    assert results(folder) == whole.results
    assert_clean(folder)


def test_a_search_killed_again_and_again_gets_there(folder: Path, whole: Whole) -> None:
    generator = random.Random(99)
    for _ in range(5):
        run(folder, *SEARCH, "--resume", kill=(KILLS[0], generator.randint(8, 16)), fresh=True)
    assert run(folder, *SEARCH, "--resume").code == 0
    assert results(folder) == whole.results
    assert_clean(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_a_checkpoint_and_tells_how_to_go_on(folder: Path, whole: Whole, number: int) -> None:
    rarely = [word.replace("0s", "1h") for word in SEARCH]  # so that what comes back was written by the signal
    command = Command(folder, rarely, fresh=True)
    metrics = folder / "run" / "metrics.jsonl"
    command.wait_for(lambda: metrics.exists() and metrics.read_text().count('"encoders"') == 6)
    command.send(number)
    ended = command.ended()
    assert ended.code == 128 + number
    *_, last = ended.err.splitlines()
    assert last.startswith("fusenas: stopped; go on with: fusenas search tiny.npz --modalities sound,sight")
    assert last.endswith(" --resume")
    assert "Traceback" not in ended.err
    assert len(list((folder / "run" / "checkpoints").glob("*.state"))) >= 1
    again = run(folder, *last.split(": ")[-1].split()[1:])
    assert again.code == 0
    assert "going on with what was stopped" in again.err
    assert results(folder) == whole.results
    assert_clean(folder)


def test_what_is_finished_is_told_and_not_done_again(whole: Whole) -> None:
    folder = whole.folder
    ended = run(folder, *SEARCH, "--resume", "--json")
    assert ended.code == 0
    assert ended.err == "'run' is finished: nothing is left to do\n"
    assert json.loads(ended.out) == json.loads((folder / "run" / "summary.json").read_text())
    assert results(folder) == whole.results


def test_a_run_of_other_options_or_data_is_not_gone_on_with(folder: Path) -> None:
    assert run(folder, *SEARCH, kill=(KILLS[0], 12), fresh=True).code == -signal.SIGKILL
    before = states(folder)
    for given, told in (
        (("--retrain-seeds", "2"), r"begun with evaluation\.retrain_seeds 1, now it is 2"),
        (("--strategy", "darts"), r"begun with search\.strategy 'sampled', now it is 'darts'"),
        (("--epochs", "5"), r"begun with training\.epochs 4, now it is 5"),
        (("--modalities", "sight,sound"), r"begun with data '[0-9a-f]+', now it is '[0-9a-f]+'"),
        (("--overwrite",), r"--resume goes on with a run and --overwrite begins it anew"),
    ):
        ended = run(folder, *SEARCH, *given, "--resume")
        assert ended.code == 2
        assert re.fullmatch(rf"fusenas: [^\n]*{told}[^\n]*\n", ended.err), ended.err
    assert states(folder) == before


def test_a_run_that_replaces_another_and_is_killed_keeps_both_until_it_ends(folder: Path, whole: Whole) -> None:
    shutil.copytree(whole.folder / "run", folder / "run")
    other = (*SEARCH, "--seed", "7")
    assert run(folder, *other, "--overwrite", kill=(KILLS[1], 20), fresh=True).code == -signal.SIGKILL
    assert (folder / "run" / ".replaced" / "weights.safetensors").read_bytes() == whole.results["weights.safetensors"]
    assert run(folder, *other, "--resume").code == 0
    assert_clean(folder)
    assert results(folder)["weights.safetensors"] != whole.results["weights.safetensors"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small disk can only be mounted by root, and not in every container")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def assert_full(ended: Ended, folder: Path, words: str) -> None:
    """One line that tells it, and nothing half written; every state that is there can be read."""
    assert ended.code == 2, ended.err
    *_, last = ended.err.splitlines()
    assert last.startswith(f"fusenas: cannot write to 'run': {words}; go on with: fusenas search tiny.npz")
    assert "Traceback" not in ended.err
    assert [path for path in (folder / "run").rglob("*") if path.name.endswith(".part")] == []


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(small_disk: Path, whole: Whole) -> None:
    write_npz(small_disk)
    assert_full(run(small_disk, *SEARCH), small_disk, "no space left on device")
    assert_full(run(small_disk, *SEARCH, "--resume"), small_disk, "no space left on device")
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    assert run(small_disk, *SEARCH, "--resume").code == 0
    assert results(small_disk) == whole.results
    assert_clean(small_disk)


def test_a_limit_on_the_size_of_files_is_told_like_a_full_disk(folder: Path, whole: Whole) -> None:
    assert_full(run(folder, *SEARCH, file_bytes=200_000), folder, "file too large")
    assert run(folder, *SEARCH, "--resume").code == 0
    assert results(folder) == whole.results


def test_a_damaged_state_is_one_line_and_without_it_the_run_goes_on(folder: Path, whole: Whole) -> None:
    assert run(folder, *SEARCH, kill=(KILLS[0], 50), fresh=True).code == -signal.SIGKILL
    supernet = next((folder / "run" / "checkpoints").glob("supernet-*.state"))
    supernet.write_bytes(supernet.read_bytes()[:-1])
    ended = run(folder, *SEARCH, "--resume")
    assert ended.code == 2
    assert re.search(r"\nfusenas: [^\n]*supernet-[^\n]* cannot be gone on with: [^\n]*\n$", ended.err), ended.err
    supernet.unlink()
    assert run(folder, *SEARCH, "--resume").code == 0
    assert results(folder) == whole.results


def test_a_run_with_figures_killed_as_it_draws_them_is_drawn_again(folder: Path, whole: Whole) -> None:
    assert run(folder, *SEARCH, kill=(KILLS[0], whole.writes + 5), report=True, fresh=True).code == -signal.SIGKILL
    assert Checkpoints(folder / "run" / "checkpoints").kept()
    assert run(folder, *SEARCH, "--resume", report=True).code == 0
    assert_clean(folder)
    assert (folder / "run" / "report.html").exists()
