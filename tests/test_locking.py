"""One owner at a time: the second is told who the first is, and nobody waits for the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.errors import UserError
from nas.runs.files import Folder
from nas.runs.folder import RunFolder
from nas.runs.locking import LOCK, owned
from tests.helpers import contents
from tests.tiny_runs import as_data, finished_run, tiny_arrays, tiny_search

HOLD = """\
import sys, time
from pathlib import Path
from nas.runs.files import Folder
from nas.runs.locking import owned
sys.argv = ["/usr/bin/fusenas", "search", "my data.npz"]
with owned(Folder(Path(sys.stdin.readline().strip()))):
    print("held", flush=True)
    time.sleep(60)
"""


class Holder:
    """A process of its own that owns a folder until it is ended."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", HOLD]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "held\n"

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def test_an_owner_leaves_nothing_behind(tmp_path: Path) -> None:
    with owned(Folder(tmp_path)):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_made_and_stays_empty_is_removed(tmp_path: Path) -> None:
    with owned(Folder(tmp_path / "new")):
        assert (tmp_path / "new").is_dir()
    assert not (tmp_path / "new").exists()
    with owned(Folder(tmp_path / "new")):
        (tmp_path / "new" / "file").write_text("")
    assert (tmp_path / "new" / "file").exists()


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    told = rf"is in use by process {os.getpid()} on .* since"
    with owned(Folder(tmp_path)), pytest.raises(UserError, match=told), owned(Folder(tmp_path)):
        pass
    with owned(Folder(tmp_path)):
        pass


def test_an_owner_that_is_killed_blocks_nobody(tmp_path: Path) -> None:
    told = r"process \d+ on .*\(fusenas search 'my data\.npz'\); wait until"
    with Holder(tmp_path), pytest.raises(UserError, match=told), RunFolder.created(tmp_path):
        pass
    assert (tmp_path / LOCK).exists()  # of the killed one
    with RunFolder.created(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff" * 9000, b'{"process": "a\\nb", "host": 1}'])
def test_a_lock_that_says_nothing_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    with owned(Folder(tmp_path)):
        (tmp_path / LOCK).write_bytes(content)
        with pytest.raises(UserError, match=r"is in use by another process; wait") as caught, owned(Folder(tmp_path)):
            pass
    assert "\n" not in str(caught.value)


def test_a_lock_that_is_a_link_is_refused_and_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="is a link, and nothing"), owned(Folder(tmp_path / "run")):
        pass
    assert (tmp_path / "outside").read_text() == "mine"


def test_every_command_that_writes_is_refused_while_another_owns_the_run(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    finished = finished_run(tmp_path_factory).folder
    assert finished is not None
    folder = tmp_path / "run"
    RunFolder.create(folder)
    for name in ("config.toml", "summary.json", "weights.safetensors", "architecture.json", "metrics.jsonl"):
        (folder / name).write_bytes((finished / name).read_bytes())
    (folder / ".summary.json.abcd1234.part").write_text("half")  # the owner is just writing it
    data = as_data(tiny_arrays())
    with Holder(folder):
        before = contents(folder)
        for refused in (
            lambda: tiny_search(data, out=folder),
            lambda: tiny_search(data, out=folder, overwrite=True),
            lambda: tiny_search(data, out=folder, resume=True),
            lambda: nas.retrain(folder, data=data),
            lambda: nas.retrain(finished, out=folder, overwrite=True),
            lambda: nas.export(folder, ["json"], data=data),
            lambda: nas.export(finished, ["json"], out=folder),
            lambda: nas.report(folder),
            lambda: nas.report(finished, folder),
        ):
            with pytest.raises(UserError, match=r"is in use by process \d+ on"):
                refused()
        assert contents(folder) == before
        assert nas.load_run(folder).architecture == nas.load_run(finished).architecture  # to read it is no harm


def test_what_cannot_be_locked_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Folder, "open_lock", read_only)
    with pytest.raises(UserError, match=r"cannot write to .*: Read-only file system"), owned(Folder(tmp_path)):
        pass
