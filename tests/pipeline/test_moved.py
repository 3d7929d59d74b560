"""A run folder and its data elsewhere: every command that reads data says what is missing, and takes --data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import Run, runner
from tests.helpers import contents
from tests.tiny_runs import no_report, tiny_search, write_npz


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and its data, which was another one when the run was searched."""
    folder = tmp_path_factory.mktemp("moved")
    (folder / "then").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        no_report(patch)
        data = str(write_npz(folder / "then"))
        named = {"modalities": "sound,sight", "target": "label", "split": "split"}
        tiny_search(data, baselines="few", out=folder / "then" / "run", **named)
    return (folder / "then").rename(folder / "now")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    no_report(monkeypatch)
    return runner(monkeypatch, capsys)


COMMANDS = {
    "evaluate": ["evaluate", "{run}"],
    "retrain": ["retrain", "{run}", "--epochs", "1", "--out", "{out}"],
    "a plan": ["retrain", "{run}", "--dry-run"],
    "export": ["export", "{run}", "--format", "safetensors", "--out", "{out}"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_data_that_has_moved_is_asked_for_and_taken(run: Run, moved: Path, tmp_path: Path, command: str) -> None:
    words = [word.format(run=moved / "run", out=tmp_path / "out") for word in COMMANDS[command]]
    before = contents(moved)
    refused = run(*words)
    assert refused.code == 2
    told = refused.err.splitlines()[-1]
    assert f"{moved.parent / 'then' / 'tiny.npz'}', is not there; name where it is now with --data" in told
    assert "Traceback" not in refused.err
    assert not (tmp_path / "out").exists()
    taken = run(*words, "--data", moved / "tiny.npz", "--json")
    assert taken.code == 0, taken.err
    if command == "evaluate":
        assert json.loads(taken.out)["repeated"]
    assert contents(moved) == before


def test_what_reads_no_data_needs_none(run: Run, moved: Path, tmp_path: Path) -> None:
    assert run("report", moved / "run", "--out", tmp_path / "page").code == 0
    predicted = run("predict", moved / "run", moved / "tiny.npz", "--out", tmp_path / "predictions.csv")
    assert predicted.code == 0
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 121
