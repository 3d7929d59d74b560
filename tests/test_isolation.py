"""Programs that we start run none of the code that lies about, and are told little of the environment."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nas.errors import UserError
from nas.export.code import formatted
from nas.isolation import run, run_python

PLANTED = ("ruff.py", "torch.py", "sysconfig.py", "json.py", "usercustomize.py", "sitecustomize.py", "runpy.py")


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, where modules of many names leave a mark when they are imported."""
    for name in PLANTED:
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "ruff.py"))
    return tmp_path


def test_no_code_of_the_current_folder_is_run(hostile: Path) -> None:
    script = hostile / "script.py"
    script.write_text("import json, sys, torch\nprint(json.dumps([sys.argv[1:], torch.__version__]))\n")
    code, printed, told = run_python(str(script), ["a", "b c"])
    assert (code, told) == (0, "")
    assert json.loads(printed)[0] == ["a", "b c"]
    assert formatted("x  =  1") == "x = 1\n"
    assert not (hostile / "ran").exists()


def test_a_program_runs_in_an_empty_folder_with_little_of_the_environment(hostile: Path) -> None:
    script = hostile / "script.py"
    script.write_text("import json, os\nprint(json.dumps([os.listdir('.'), dict(os.environ)]))\n")
    _, printed, _ = run_python(str(script), [])
    files, environment = json.loads(printed)
    assert files == []
    assert not [name for name in environment if name.startswith("PYTHON")]
    assert environment["PATH"] == os.environ["PATH"]


def test_what_a_program_is_given_and_how_it_ends_is_told() -> None:
    assert run(["cat"], given="äöü 漢字") == (0, "äöü 漢字", "")
    assert run(["sh", "-c", "echo no >&2; exit 3"]) == (3, "", "no\n")


def test_a_program_that_does_not_end_is_told_in_one_line() -> None:
    with pytest.raises(UserError, match="sleep did not end within 0 s; is the machine busy"):
        run(["sleep", "60"], seconds=0.2)
