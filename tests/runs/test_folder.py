"""The run folder: atomic, bounded, and never a danger to anybody's files."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from nas.errors import UserError
from nas.records import plain
from nas.runs.folder import RunFolder, write_atomically
from tests.helpers import contents


def test_config_there_and_back(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    run.write_config({"seed": 3, "data": {"name": 'an "odd" \n name'}})
    assert run.read_config() == {"seed": 3, "data": {"name": 'an "odd" \n name'}}


def test_create_refuses_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"--overwrite .*--out"):
        RunFolder.create(tmp_path)


def test_overwrite_never_removes_a_strangers_folder(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[somebody.elses]\n")
    (tmp_path / "summary.json").write_text('{"format_version": 1}')
    (tmp_path / "metrics.jsonl").write_text('{"loss": 1}\n')
    with pytest.raises(UserError, match="no fusenas run"):
        RunFolder.create(tmp_path, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.toml", "# fusenas run, format 1\nseed = 1\n"),
        ("summary.json", '{"format_version": 1, "architecture": {}, "leaderboard": []}'),
        ("metrics.jsonl", '{"phase": "search", "step": 1}\n'),
    ],
)
def test_overwrite_removes_an_earlier_run_and_leaves_notes(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "old.svg").write_text("old")
    (tmp_path / "my notes.md").write_text("mine")
    with RunFolder.create(tmp_path, overwrite=True).replacing():
        assert sorted(file.name for file in tmp_path.iterdir()) == [".replaced", "my notes.md"]
    assert [file.name for file in tmp_path.iterdir()] == ["my notes.md"]


def _replace_and_fail(run: RunFolder, error: BaseException) -> None:
    """Writes something in the place of an earlier run, then fails."""
    with run.replacing():
        run.write_config({"seed": 2})
        run.write_bytes("figures/two.svg", b"new")
        raise error


def test_a_replacement_that_is_a_mistake_gives_the_earlier_run_back(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    run.write_config({"seed": 1})
    run.write_bytes("figures/one.svg", b"old")
    (run.path / "notes.txt").write_text("mine")
    before = contents(run.path)
    again = RunFolder.create(run.path, overwrite=True)
    with pytest.raises(UserError, match="diverged"):
        _replace_and_fail(again, UserError("diverged"))
    after = contents(run.path)
    assert after == before
    assert {path.name for path in run.path.iterdir()} == {"config.toml", "figures", "notes.txt"}


def test_after_a_killed_replacement_the_next_one_still_keeps_the_earlier_run(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path)
    run.write_config({"seed": 1})
    RunFolder.create(tmp_path, overwrite=True)  # and killed here
    RunFolder.create(tmp_path, overwrite=True).write_config({"seed": 2})  # and here
    again = RunFolder.create(tmp_path, overwrite=True)
    with pytest.raises(UserError, match="diverged"), again.replacing():
        raise UserError("diverged")
    assert run.read_config() == {"seed": 1}
    RunFolder.create(tmp_path, overwrite=True)
    with again.replacing():
        again.write_config({"seed": 3})
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]
    assert run.read_config() == {"seed": 3}


def test_without_an_earlier_run_a_failed_one_can_be_looked_at(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path)
    with pytest.raises(UserError, match="diverged"):
        _replace_and_fail(run, UserError("diverged"))
    assert run.read_config() == {"seed": 2}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError, MemoryError])
def test_a_replacement_that_is_stopped_can_be_gone_on_with_and_keeps_the_earlier_run(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    RunFolder.create(tmp_path).write_config({"seed": 1})
    with pytest.raises(stop):
        _replace_and_fail(RunFolder.create(tmp_path, overwrite=True), stop())
    again = RunFolder.create(tmp_path, resume=True)
    assert again.read_config() == {"seed": 2}
    assert RunFolder(tmp_path / ".replaced").read_config() == {"seed": 1}
    with again.replacing():
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"config.toml", "figures"}


def test_resuming_leaves_alone_what_is_no_run(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path / "new", resume=True).path.is_dir()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="no fusenas run, so --resume leaves them alone"):
        RunFolder.create(tmp_path, resume=True)


def test_what_a_killed_process_left_half_written_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".config.toml.abcd_123.part").write_text("# fuse")
    (tmp_path / ".mine.abcd_123.part").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        RunFolder.create(tmp_path)
    (tmp_path / ".mine.abcd_123.part").unlink()
    run = RunFolder.create(tmp_path)
    assert not list(tmp_path.iterdir())
    run.write_config({})
    run.write_bytes("figures/one.svg", b"")
    (run.figures / ".two.svg.abcd_123.part").write_text("<sv")
    RunFolder.create(tmp_path, resume=True)
    assert [path.name for path in run.figures.iterdir()] == ["one.svg"]


def test_nothing_is_read_through_a_link_that_leads_out(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    run = RunFolder.create(tmp_path / "run")
    run.summary.symlink_to(tmp_path / "secret.json")
    with pytest.raises(UserError, match=r"is a link, and nothing of a run is read .* through a link; put a copy"):
        run.read_json("summary.json")
    run.weights.symlink_to("/dev/zero")
    with pytest.raises(UserError, match="is a link, and nothing"):
        run.read_bytes("weights.safetensors")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    os.mkfifo(run.summary)
    with pytest.raises(UserError, match="is no regular file"):
        run.read_json("summary.json")


def test_overwrite_follows_no_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    run = RunFolder.create(tmp_path / "run")
    run.write_config({})
    run.figures.symlink_to(outside)
    with pytest.raises(UserError, match="through a link"):
        run.write_text("figures/a.svg", "x")
    RunFolder.create(run.path, overwrite=True)
    assert (outside / "precious").read_text() == "x"
    assert not run.figures.exists()


def test_create_names_the_file_in_its_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="not a folder"):
        RunFolder.create(tmp_path / "file", overwrite=True)
    with pytest.raises(UserError, match="cannot make"):
        RunFolder.create(tmp_path / "file" / "run")


def test_open_wants_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        RunFolder.open(tmp_path / "absent")
    with pytest.raises(UserError, match="is no run"):
        RunFolder.open(tmp_path)
    RunFolder(tmp_path).write_config({})
    assert RunFolder.open(str(tmp_path)).path == tmp_path


@pytest.mark.parametrize("name", ["../x", "/etc/x", "figures/../../x", "", ".", "a\\..\\x", "a\0b"])
def test_names_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="leads out"):
        RunFolder(tmp_path).write_text(name, "x")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_atomically(tmp_path / "summary.json", b"old")

    def full_disk(_handle: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_written_files_have_the_users_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    assert write_atomically(tmp_path / "ours", b"").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_holds_no_nan_and_odd_names_survive(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_json("a.json", {"loss": math.nan, "best": math.inf, "pair": (1, 2.5), "name": "\udc80ä"})
    assert run.read_json("a.json") == {"loss": None, "best": None, "pair": [1, 2.5], "name": "\udc80ä"}


def test_plain_refuses_what_json_cannot_hold() -> None:
    with pytest.raises(TypeError, match="object"):
        plain({"a": object()})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b'{"format_version": 1', "cut off"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"format_version": 2}', "format version 2, expected 1"),
        (b'{"format_version": true}', "format version True"),
        (b"[1]", "format version None"),
    ],
)
def test_a_damaged_summary_is_told_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "summary.json").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        RunFolder(tmp_path).read_summary()
    assert "\n" not in str(caught.value)


def test_missing_and_huge_files_are_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(UserError, match=r"summary\.json.* is missing"):
        run.read_summary()
    (tmp_path / "summary.json").write_bytes(b" " * 100)
    with pytest.raises(UserError, match="larger than 99 bytes"):
        run.read_bytes("summary.json", max_bytes=99)
    (tmp_path / "config.toml").write_text("seed = ")
    with pytest.raises(UserError, match="not TOML"):
        run.read_config()


def test_metrics_tolerate_a_cut_last_line_only(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.metrics.write_text('{"phase": "search", "step": 1}\n{"phase": "sea')
    assert run.read_metrics() == [{"phase": "search", "step": 1}]
    run.metrics.write_text('{"phase": "sea\n{"phase": "search", "step": 1}\n')
    with pytest.raises(UserError, match="line 1 is not a JSON object"):
        run.read_metrics()
    run.metrics.write_text("[1]\n")
    with pytest.raises(UserError, match="expected an object"):
        run.read_metrics()


@pytest.mark.parametrize("name", ["metrics.jsonl", "report.html", "exports", "figures", "checkpoints"])
@pytest.mark.parametrize("kind", ["link", "dangling", "other"])
def test_what_is_in_the_way_of_a_file_is_told_before_any_work_is_done(tmp_path: Path, name: str, kind: str) -> None:
    run = RunFolder.create(tmp_path / "run")
    run.write_config({})
    path = run.path / name
    if kind == "other":
        path.mkdir() if "." in name else path.write_text("")
    else:
        path.symlink_to(tmp_path / ("elsewhere" if kind == "dangling" else "run/config.toml"))
    before = contents(run.path)
    for claim in (RunFolder.claimed(run.path), RunFolder.created(run.path, resume=True)):
        with pytest.raises(UserError, match=rf"{name}' is no (file|folder) of a run, but a link or the like"), claim:
            pass
    assert contents(run.path) == before
    with RunFolder.created(run.path, overwrite=True).__enter__().replacing():
        pass
    assert run.names() == []
