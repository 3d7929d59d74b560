"""The lock holds everything that the package and its tests need, and what is derived from it agrees."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
APART = ("timm", "torchvision")  # beside another torch, see `make vision`
CUDA = ("cuda-", "nvidia-", "triton")  # what some builds of torch need; torch pins them itself


def pins(file: str) -> dict[str, str]:
    """Name and version of every package in a requirements file."""
    lines = (ROOT / file).read_text().splitlines()
    return {name: version for line in lines if "==" in line for name, version in [line.split()[0].split("==")]}


def declared() -> list[Requirement]:
    """Every requirement that pyproject.toml names, but for those that are tested in an environment of their own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    lists = [project["build-system"]["requires"], project["project"]["dependencies"], *extras]
    return [Requirement(text) for texts in lists for text in texts if not text.startswith(("fusenas[", *APART))]


def test_what_is_tested_apart_is_pinned_within_its_bounds() -> None:
    versions = pins("requirements-vision.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    given = [*project["dependencies"], *project["optional-dependencies"]["vision"]]
    found = {one.name: one for one in map(Requirement, given) if one.name in ("torch", *APART)}
    assert found.keys() == versions.keys()
    assert all(one.specifier.contains(versions[name]) for name, one in found.items())


def test_the_constraints_are_the_lock_and_torch() -> None:
    locked, constrained = pins("requirements.lock"), pins("constraints.txt")
    assert len(locked) > 50
    assert constrained == {**locked, "torch": constrained["torch"]}


def test_every_locked_package_has_hashes_and_comes_from_no_particular_place() -> None:
    text = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"^(?=[a-z])", text.split("\n", 1)[1].replace("\\\n", ""), flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins("requirements.lock"))
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9.-]+==[^\s]+ (; [^\n]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", entry), entry
    for file in ("requirements.lock", "constraints.txt"):
        assert not re.search(r"://|@|index|find-links|/\w+/", (ROOT / file).read_text())


def test_what_is_declared_is_locked_within_its_bounds() -> None:
    versions = pins("constraints.txt")
    for requirement in declared():
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_what_locked_packages_need_is_locked_too() -> None:
    """As the installed ones say, whose versions may be others."""
    versions, waiting, seen = pins("constraints.txt"), declared(), set[str]()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (requirement.marker and not requirement.marker.evaluate({"extra": ""})) or name.startswith(CUDA):
            continue
        assert name in versions, name
        if name not in seen:
            seen.add(name)
            try:
                waiting += map(Requirement, requires(name) or [])
            except PackageNotFoundError:  # an extra that is not installed here
                continue
    assert len(seen) > 50
