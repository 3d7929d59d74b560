"""Files of a folder that may come from a stranger: through no link, whole or not at all, and by one class alone."""

from __future__ import annotations

import ast
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas.errors import UserError
from nas.runs.files import Folder, folder_to_write
from tests.helpers import contents

ROOT = Path(__file__).parents[1]

ELSEWHERE = {
    "nas/runs/files.py": "the class itself",
    "nas/runs/locking.py": "the lock's own file, opened by the class",
    "nas/export/program.py": "into a temporary folder",
    "nas/export/formats.py": "into a temporary folder, from which the class takes what has been tried",
    "nas/export/check.py": "into a temporary folder",
    "nas/export/verify.py": "into a temporary folder",
    "nas/data/embedded/rebuild.py": "a script of ours that makes the embedded data",
}
"""Files that may write by themselves, and why."""


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file that must stay as it is."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious.txt").write_text("years of work")
    before = contents(folder)
    yield folder
    assert contents(folder) == before


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "run").mkdir()
    return Folder(tmp_path / "run")


ACTIONS: dict[str, Callable[[Folder, str], object]] = {
    "write": lambda folder, name: folder.write_bytes(name, b"new"),
    "stream": lambda folder, name: folder.stream(name).close(),
    "remove": lambda folder, name: folder.remove(name),
    "make": lambda folder, name: folder.make(name),
    "rename": lambda folder, name: folder.rename("own.txt", name),
    "read": lambda folder, name: folder.read_bytes(name),
    "lock": lambda folder, name: folder.open_lock(name),
}


@pytest.mark.parametrize("action", [name for name in ACTIONS if name not in ("remove", "make")])
def test_a_link_on_the_way_is_refused(folder: Folder, outside: Path, action: str) -> None:
    (folder.path / "exports").symlink_to(outside)
    folder.write_bytes("own.txt", b"own")
    with pytest.raises(UserError, match="is a link, and nothing of a run is read or written through a link"):
        ACTIONS[action](folder, "exports/precious.txt")


@pytest.mark.parametrize("action", ["write", "stream", "rename"])
@pytest.mark.parametrize("target", ["precious.txt", "absent.txt"])
def test_a_link_in_the_place_of_a_file_is_replaced(folder: Folder, outside: Path, action: str, target: str) -> None:
    (folder.path / "metrics.jsonl").symlink_to(outside / target)
    folder.write_bytes("own.txt", b"own")
    ACTIONS[action](folder, "metrics.jsonl")
    assert folder.is_file("metrics.jsonl")


@pytest.mark.parametrize("action", ["read", "lock"])
@pytest.mark.parametrize("target", ["precious.txt", "absent.txt"])
def test_a_link_is_not_opened(folder: Folder, outside: Path, action: str, target: str) -> None:
    (folder.path / "config.toml").symlink_to(outside / target)
    with pytest.raises(UserError, match="is a link, and nothing"):
        ACTIONS[action](folder, "config.toml")


def test_a_link_is_removed_and_what_it_leads_to_stays(folder: Folder, outside: Path) -> None:
    (folder.path / "figures").symlink_to(outside)
    assert not folder.is_folder("figures")
    assert folder.exists("figures")
    folder.remove("figures")
    assert not folder.exists("figures")
    folder.make("figures/inner")
    (folder.path / "figures" / "inner" / "link").symlink_to(outside)
    folder.remove("figures")
    assert folder.names() == []


@pytest.mark.parametrize("target", ["", "absent"])
def test_folders_are_not_made_beyond_a_link(folder: Folder, outside: Path, target: str) -> None:
    (folder.path / "checkpoints").symlink_to(outside / target)
    with pytest.raises(UserError, match=r"checkpoints' is a link, and nothing"):
        folder.inner("checkpoints").write_bytes("one.state", b"")


def test_folders_are_not_made_beyond_a_file(folder: Folder) -> None:
    folder.write_bytes("checkpoints", b"")
    with pytest.raises(UserError, match=r"checkpoints' is no folder, and nothing"):
        folder.inner("checkpoints").write_bytes("one.state", b"")


def test_a_folder_inside_is_reached_from_the_outer_one(folder: Folder, outside: Path) -> None:
    inner = folder.inner("checkpoints")
    inner.write_bytes("a/one.state", b"1")
    assert inner.names() == ["a"]
    assert inner.names("a") == ["one.state"]
    assert inner.path == folder.path / "checkpoints"
    inner.remove("a")
    inner.path.rmdir()
    inner.path.symlink_to(outside)
    with pytest.raises(UserError, match="is a link"):
        inner.read_bytes("precious.txt")
    assert not inner.is_file("precious.txt")
    assert not inner.is_folder()


def test_a_folder_that_becomes_a_link_while_it_is_written_to_leads_nowhere(
    folder: Folder, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.make("figures")
    replace = os.replace

    def swap_first(*arguments: object, **options: object) -> None:
        (folder.path / "figures").rename(folder.path / "moved")
        (folder.path / "figures").symlink_to(outside)
        replace(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", swap_first)
    folder.write_bytes("figures/precious.txt", b"new")
    assert (folder.path / "moved" / "precious.txt").read_bytes() == b"new"


def test_a_pipe_or_a_file_of_two_names_is_no_lock(folder: Folder, outside: Path) -> None:
    os.mkfifo(folder.path / "pipe")
    os.link(outside / "precious.txt", folder.path / "second")
    for name in ("pipe", "second"):
        with pytest.raises(UserError, match="is no file of ours"):
            folder.open_lock(name)


def test_a_folder_in_the_place_of_a_file_is_told(folder: Folder) -> None:
    folder.make("summary.json")
    for action in ("write", "stream"):
        with pytest.raises(UserError, match=r"summary\.json' is a folder where a file belongs; remove it"):
            ACTIONS[action](folder, "summary.json")
    assert folder.names() == ["summary.json"]


def test_a_write_that_fails_leaves_nothing_behind(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder.write_bytes("a", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.write_bytes("a", b"new")
    assert (folder.names(), folder.read_bytes("a")) == (["a"], b"old")


def test_what_a_killed_write_left_goes_with_the_next_one_of_the_file(folder: Folder) -> None:
    folder.make("figures")
    for name in (".a.svg.0123abcd.part", ".b.svg.0123abcd.part", ".a.svg.part"):
        (folder.path / "figures" / name).write_text("half")
    folder.write_bytes("figures/a.svg", b"whole")
    assert folder.names("figures") == [".a.svg.part", ".b.svg.0123abcd.part", "a.svg"]


def test_handles_are_closed(folder: Folder, outside: Path) -> None:
    (folder.path / "link").symlink_to(outside)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for action in ACTIONS.values():
        for name in ("a/b/c", "link/x", "absent/x"):
            try:
                handle = action(folder, name)
            except (UserError, OSError):
                continue
            if isinstance(handle, int):
                os.close(handle)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_folder_to_write_to_is_no_link_and_no_file(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    for name in ("link", "dangling", "file"):
        with pytest.raises(UserError, match="is not a folder; choose another with --out"):
            folder_to_write(tmp_path / name)
    assert folder_to_write(tmp_path / "absent").path == tmp_path / "absent"


ALWAYS = frozenset(
    [
        *("mkdir", "makedirs", "unlink", "rmdir", "rmtree", "symlink_to", "touch", "mkstemp", "mkfifo", "fdopen"),
        *("save_file", "savez", "savez_compressed", "copyfile", "copytree", "copy2"),
    ]
)
"""Calls of these names write."""

OF_MODULES = frozenset(["rename", "replace", "remove", "move", "copy", "link", "symlink", "truncate"])
"""Calls of these names write where they belong to `os` or `shutil`."""


def writes(tree: ast.AST) -> Iterator[int]:
    """Lines of calls that write to the file system, other than those of `Folder`, which take a name first."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        is_method = isinstance(node.func, ast.Attribute)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        of_module = isinstance(owner, ast.Name) and owner.id in ("os", "shutil")
        if (
            name in ALWAYS
            or (name in OF_MODULES and of_module)
            or (name in ("write_text", "write_bytes") and len(node.args) == 1)
            or (
                name == "open"
                and any(is_mode(given) for given in (*node.args[0 if is_method else 1 :], *node.keywords))
            )
        ):
            yield node.lineno


def is_mode(argument: ast.AST) -> bool:
    """Whether an argument of `open` is a mode for writing."""
    value = argument.value if isinstance(argument, ast.keyword) else argument
    text = value.value if isinstance(value, ast.Constant) else None
    return isinstance(text, str) and len(text) <= 3 and bool(set(text) & set("wax+"))


@pytest.mark.parametrize(
    "code",
    ["path.write_text('x')", "open('a', 'w')", "path.open('wb')", "os.replace(a, b)", "shutil.rmtree(a)", "p.mkdir()"],
)
def test_a_write_is_seen(code: str) -> None:
    assert list(writes(ast.parse(code))) == [1]


@pytest.mark.parametrize("code", ["folder.write_bytes('a', b'')", "path.open('rb')", "text.replace('a', 'b')"])
def test_what_is_no_write_is_not_taken_for_one(code: str) -> None:
    assert list(writes(ast.parse(code))) == []


def test_nothing_else_writes_files() -> None:
    found = [
        f"{name}:{line}"
        for path in sorted([ROOT / "cli.py", *(ROOT / "nas").rglob("*.py"), *(ROOT / "search_spaces").rglob("*.py")])
        if (name := path.relative_to(ROOT).as_posix()) not in ELSEWHERE
        for line in writes(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize("text", ['{"a": ' * 70 + "1" + "}" * 70, "[" * 400 + "]" * 400, "[" * 10**5])
def test_json_that_is_nested_too_deep_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "deep.json").write_text(text)
    with pytest.raises(UserError, match=r"is not JSON: .*(nested more than 64 deep|recursion)"):
        Folder(tmp_path).read_json("deep.json")
    (tmp_path / "deep.json").write_text("[" * 60 + "1" + "]" * 60)
    assert Folder(tmp_path).read_json("deep.json")
