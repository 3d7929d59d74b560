"""An earlier run is never lost, wherever between two moves of its files a process is killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from nas.errors import UserError
from nas.runs.files import Folder
from nas.runs.folder import RunFolder
from nas.runs.replaced import ASIDE, DISCARDED, MOVING, discard, finish_moving, put_back, set_aside
from tests.helpers import contents


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


@contextmanager
def killed_at(patch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """Ends the block before the change to the file system of that number, from 1; the last are beyond all changes."""
    done = 0

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **options: object) -> object:
            nonlocal done
            done += 1
            if done >= number:
                raise Killed
            return function(*arguments, **options)

        return run

    with patch.context() as inside:
        for name in ("replace", "unlink", "mkdir", "rmdir"):
            inside.setattr(os, name, counted(getattr(os, name)))
        with suppress(Killed):
            yield


def earlier_run(folder: Path) -> RunFolder:
    run = RunFolder.create(folder)
    run.write_config({"seed": 1})
    run.write_text("weights.safetensors", "old weights")
    run.write_text("figures/one.svg", "old figure")
    run.write_text("checkpoints/run.json", "{}")
    (folder / "notes.txt").write_text("mine")
    return run


def new_run(folder: Path) -> RunFolder:
    run = RunFolder.create(folder, overwrite=True)
    run.write_config({"seed": 2})
    run.write_text("summary.json", "{}")
    run.write_text("figures/two.svg", "new figure")
    return run


def test_a_run_set_aside_and_put_back_is_as_it_was(tmp_path: Path) -> None:
    earlier_run(tmp_path)
    before = contents(tmp_path)
    new_run(tmp_path)
    assert (tmp_path / ASIDE / "figures" / "one.svg").read_text() == "old figure"
    put_back(Folder(tmp_path))
    assert contents(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} >= {"notes.txt", "figures"}


@pytest.mark.parametrize("number", range(1, 8))
def test_killed_while_it_is_set_aside_the_earlier_run_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    earlier_run(tmp_path)
    before = contents(tmp_path)
    with killed_at(monkeypatch, number):
        set_aside(Folder(tmp_path))
    RunFolder.open(tmp_path) if not (tmp_path / ASIDE).exists() else put_back(Folder(tmp_path))
    assert contents(tmp_path) == before
    assert not (tmp_path / MOVING).exists()


@pytest.mark.parametrize("number", range(1, 8))
def test_killed_while_it_is_set_aside_it_is_whole_aside_when_the_next_run_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    earlier_run(tmp_path)
    before = contents(tmp_path)
    with killed_at(monkeypatch, number):
        set_aside(Folder(tmp_path))
    again = new_run(tmp_path)
    with pytest.raises(UserError, match="diverged"), again.replacing():
        raise UserError("diverged")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("number", range(1, 18))
def test_killed_while_it_is_put_back_it_comes_back_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    earlier_run(tmp_path)
    before = contents(tmp_path)
    new_run(tmp_path)
    with killed_at(monkeypatch, number):
        put_back(Folder(tmp_path))
    put_back(Folder(tmp_path))
    finish_moving(Folder(tmp_path))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("number", range(1, 10))
def test_killed_while_it_is_deleted_it_never_comes_back_in_place_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    earlier_run(tmp_path)
    new_run(tmp_path)
    old = contents(tmp_path / ASIDE)
    after = {name: content for name, content in contents(tmp_path).items() if not name.startswith(".replaced")}
    with killed_at(monkeypatch, number):
        discard(Folder(tmp_path))
    if (tmp_path / ASIDE).exists():
        assert contents(tmp_path / ASIDE) == old  # nothing has been deleted yet
        discard(Folder(tmp_path))
    third = RunFolder.create(tmp_path, overwrite=True)
    with pytest.raises(UserError, match="diverged"), third.replacing():
        raise UserError("diverged")
    assert contents(tmp_path) == after


@pytest.mark.parametrize("name", [ASIDE, MOVING, DISCARDED])
def test_links_are_not_followed(tmp_path: Path, name: str) -> None:
    outside = earlier_run(tmp_path / "outside").path
    before = contents(outside)
    folder = tmp_path / "run"
    RunFolder.create(folder).write_config({"seed": 3})
    (folder / name).symlink_to(outside)
    RunFolder.open(folder)
    for operation in (finish_moving, put_back, discard):
        operation(Folder(folder))
    assert contents(outside) == before
    assert RunFolder(folder).read_config() == {"seed": 3}


@pytest.mark.parametrize("name", [ASIDE, MOVING, DISCARDED])
@pytest.mark.parametrize("obstacle", ["link", "file"])
def test_what_is_no_folder_is_not_in_the_way_of_a_run_that_is_set_aside(
    tmp_path: Path, name: str, obstacle: str
) -> None:
    folder = earlier_run(tmp_path)
    before = contents(tmp_path)
    if obstacle == "link":
        (tmp_path / name).symlink_to("nothing")
    else:
        (tmp_path / name).write_text("not ours")
    set_aside(folder)
    assert (tmp_path / ASIDE / "figures" / "one.svg").read_text() == "old figure"
    if name == DISCARDED:
        discard(folder)
        assert not (tmp_path / ASIDE).exists()
        assert not (tmp_path / DISCARDED).is_symlink()
    else:
        put_back(folder)
        assert contents(tmp_path) == before


def test_a_run_that_cannot_be_put_back_is_told_in_a_line(tmp_path: Path) -> None:
    earlier_run(tmp_path)
    shutil.copytree(tmp_path / "figures", tmp_path / MOVING / "figures")
    with pytest.raises(UserError, match=r"cannot put the run in .* back in its place"):
        RunFolder.open(tmp_path)
