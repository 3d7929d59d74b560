"""The wheel: what it holds, and that the command runs from it where there is no checkout."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from nas.data.emoji import emoji
from nas.space.search_space import space_names

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    """Runs a command that sees no checkout, and returns what it printed."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV"))
    }
    done = subprocess.run([*map(str, command)], cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout, by the build tools that are installed."""
    source = tmp_path_factory.mktemp("source")
    for name in ("nas", "search_spaces"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("cli.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source, cwd=out)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, which borrows all that the wheel depends on."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"),
        *("install", "--no-deps", "--no-index", wheel),
        cwd=folder.parent,
    )
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder.parent).strip()
    # A path line does not run the .pth files in there, so that the checkout does not come along.
    Path(site, "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_wheel_holds_data_notice_templates_and_type_marks(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for name in (
        "cli.py",
        "nas/py.typed",
        "search_spaces/py.typed",
        "nas/data/embedded/emoji.npz",
        "nas/data/embedded/NOTICE.md",
    ):
        assert name in names
    patterns = ("nas/report/*.j2", "nas/report/*.css", "nas/export/*.j2")
    templates = {file.relative_to(ROOT).as_posix() for pattern in patterns for file in ROOT.glob(pattern)}
    assert len(templates) >= 3
    assert templates <= set(names)
    modules = {
        file.relative_to(ROOT).as_posix() for top in ("nas", "search_spaces") for file in ROOT.glob(f"{top}/**/*.py")
    }
    assert modules <= set(names)
    assert {name.split("/")[0] for name in names} == {"cli.py", "nas", "search_spaces", "fusenas-0.1.0.dist-info"}
    licenses = {name.split("/licenses/")[1] for name in names if "/licenses/" in name}
    assert licenses == {"LICENSE", "nas/data/embedded/NOTICE.md"}


def test_the_wheel_names_every_package_that_its_code_imports(wheel: Path) -> None:
    """The environment below borrows its packages, so that a dependency left out would go unnoticed there."""
    with zipfile.ZipFile(wheel) as archive:
        named = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = archive.read(named[0]).decode()
        sources = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")]
    required = {
        re.split(r"[ ;<>=!~]", line.removeprefix("Requires-Dist: "))[0].lower()
        for line in metadata.splitlines()
        if line.startswith("Requires-Dist: ") and 'extra == "dev"' not in line
    }
    trees = [ast.parse(source) for source in sources]
    imported = {
        name.split(".")[0]
        for tree in trees
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    } - {*sys.stdlib_module_names, "nas", "search_spaces", "cli"}
    packages = packages_distributions()
    assert {"torch", "numpy", "sklearn"} <= imported
    for module in imported:
        assert {package.lower().replace("_", "-") for package in packages[module]} & required, module


def test_the_installed_command_runs_without_the_checkout(environment: Path, tmp_path: Path) -> None:
    python = environment / "bin" / "python"
    where = run(
        python, "-c", "import cli, nas, search_spaces as s; print(cli.__file__, nas.__file__, s.__file__)", cwd=tmp_path
    )
    for file in where.split():
        assert Path(file).is_relative_to(environment)
    listed = run(environment / "bin" / "fusenas", "list", cwd=tmp_path)
    assert {"emoji", "layerwise", "additive", "sampled", "one_standard_error"} <= {
        line.split()[0] for line in listed.splitlines()
    }


def test_the_installed_package_finds_its_data_and_its_space(environment: Path, tmp_path: Path) -> None:
    script = "import nas\nfrom nas.space.search_space import space_names\n"
    script += "print(len(nas.load_data('emoji')), space_names())\n"
    assert run(environment / "bin" / "python", "-c", script, cwd=tmp_path).split(maxsplit=1) == [
        str(len(emoji(0))),
        f"{space_names()}\n",
    ]
    assert not list(tmp_path.iterdir())
