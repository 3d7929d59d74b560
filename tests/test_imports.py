"""Imports point one way, cli → search_spaces → nas, nothing happens at import, and what is public is explained."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

import nas
import search_spaces

_ROOT = Path(__file__).resolve().parent.parent
_FILES = sorted(
    [_ROOT / "cli.py", *(file for package in ("nas", "search_spaces") for file in (_ROOT / package).rglob("*.py"))]
)
_NAMES = [str(file.relative_to(_ROOT)) for file in _FILES]


def _imported(tree: ast.AST) -> set[str]:
    """Full names of all modules that are imported anywhere in a file, functions included."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import of {node.module}"
            found.add(node.module or "")
    return found


def _imports_of(file: Path) -> set[str]:
    return _imported(ast.parse(file.read_text(encoding="utf-8")))


def _packages(file: Path) -> set[str]:
    return {name.split(".", maxsplit=1)[0] for name in _imports_of(file)}


def test_every_file_is_looked_at() -> None:
    some = {"cli.py", "nas/network/fusion_network.py", "nas/data/batches.py", "search_spaces/operations/mlp.py"}
    assert some <= set(_NAMES)


@pytest.mark.parametrize("name", _NAMES)
def test_imports_point_one_way(name: str) -> None:
    forbidden = {"nas": {"search_spaces", "cli", "tests"}, "search_spaces": {"cli", "tests"}, "cli.py": {"tests"}}
    assert not _packages(_ROOT / name) & forbidden[name.split("/", maxsplit=1)[0]]


def test_an_import_within_a_function_counts() -> None:
    tree = ast.parse(
        "def f():\n    from search_spaces import layerwise\n    import cli as c\n    return layerwise, c\n"
    )
    assert _imported(tree) == {"search_spaces", "cli"}


STAGES = (
    *("errors", "fields", "tasks", "records", "config", "metrics", "influence", "statistics", "seeding", "device"),
    *(
        "codegen",
        "isolation",
        "streams",
        "data",
        "encoders",
        "space",
        "summary",
        "runs",
        "network",
        "objectives",
        "training",
    ),
    *("supernet", "strategies", "routing", "diagnostics", "retraining", "discretize", "evaluation", "report", "saved"),
    *("export", "terminal", "pipeline"),
)
"""Modules and packages of `nas`, each of which may import those before it; see `docs/architecture.md`."""

_ENGINE = [name for name in _NAMES if name.startswith("nas/") and name != "nas/__init__.py"]


def _stage(name: str) -> str:
    """Of a module's name such as "nas.data.batches", or of a file's such as "nas/data/batches.py"."""
    return name.removesuffix(".py").replace("/", ".").split(".")[1]


def test_the_engine_has_few_modules_outside_of_packages() -> None:
    assert {_stage(name) for name in _ENGINE} == set(STAGES)
    assert sum(name.count("/") == 1 for name in _NAMES if name.startswith("nas/")) <= 13  # twelve and __init__


@pytest.mark.parametrize("name", _ENGINE)
def test_a_stage_imports_earlier_ones_alone(name: str) -> None:
    modules = {module for module in _imports_of(_ROOT / name) if module.startswith("nas.")}
    assert {_stage(module) for module in modules} <= set(STAGES[: STAGES.index(_stage(name)) + 1])


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = nx.DiGraph()
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name for name in _ENGINE}
    for module, name in modules.items():
        for node in ast.parse((_ROOT / name).read_text(encoding="utf-8")).body:  # those within functions come later
            if isinstance(node, ast.ImportFrom) and node.module:
                asked = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                graph.add_edges_from((module, other) for other in asked if other in modules and other != module)
    assert graph.number_of_edges() > 500
    assert [sorted(some) for some in nx.strongly_connected_components(graph) if len(some) > 1] == []


@pytest.mark.parametrize("name", [name for name in _NAMES if name.startswith("nas/config/")])
def test_options_are_declared_apart_from_what_they_configure(name: str) -> None:
    known = {module for module in _imports_of(_ROOT / name) if module.startswith("nas")}
    assert all(module.startswith(("nas.config", "nas.errors", "nas.fields")) for module in known)


def _operation_files() -> list[str]:
    return [name for name in _NAMES if name.startswith("search_spaces/operations/") and "__init__" not in name]


@pytest.mark.parametrize("name", _operation_files())
def test_an_operation_needs_of_the_engine_only_what_an_operation_is(name: str) -> None:
    known = {module for module in _imports_of(_ROOT / name) if module.startswith("nas")}
    assert known <= {"nas.space.operation", "nas.codegen", "nas.errors"}


@pytest.mark.parametrize("name", _NAMES)
def test_only_the_command_line_prints(name: str) -> None:
    tree = ast.parse((_ROOT / name).read_text(encoding="utf-8"))
    printing = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "print"]
    assert name == "cli.py" or name.startswith("nas/terminal/") or not printing


@pytest.mark.parametrize("name", _NAMES)
def test_nothing_is_unpickled_or_evaluated(name: str) -> None:
    tree = ast.parse((_ROOT / name).read_text(encoding="utf-8"))
    called = {
        ast.unparse(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name | ast.Attribute)
        and "weights_only=True" not in map(ast.unparse, node.keywords)
    }
    assert not called & {"eval", "exec", "torch.load", "pickle.load", "pickle.loads", "yaml.load"}
    refused = "from pickle import UnpicklingError" in ast.unparse(tree)  # what `weights_only` raises
    assert not _packages(_ROOT / name) & {"dill", "joblib", "shelve", "marshal", *([] if refused else ["pickle"])}
    assert not {one for one in called if one.startswith("pickle")}


def _public(body: list[ast.stmt], within: str) -> Iterator[tuple[str, ast.AST]]:
    """Functions and classes of a body whose names begin with no underscore, and so on within its classes."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{within}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body, f"{within}.{node.name}")


def _unexplained(source: str, name: str) -> list[str]:
    """What is public in a module and has no docstring, the module itself included; of overloads what is run alone."""
    tree = ast.parse(source)
    everything = [(name, tree), *_public(tree.body, name)]
    return [
        found
        for found, node in everything
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not (ast.get_docstring(node) or "").strip()
        and "overload" not in map(ast.unparse, getattr(node, "decorator_list", ()))
    ]


@pytest.mark.parametrize("name", _NAMES)
def test_everything_public_is_explained(name: str) -> None:
    assert _unexplained((_ROOT / name).read_text(encoding="utf-8"), name) == []


def test_a_method_without_docstring_would_be_found() -> None:
    source = (
        '"""Module."""\nclass A:\n    """A."""\n    def b(self): ...\n    def _c(self): ...\ndef d():\n    """D."""\n'
    )
    assert _unexplained(source, "m") == ["m.A.b"]


@pytest.mark.parametrize("package", [nas, search_spaces])
def test_names_that_are_handed_out_exist_and_are_explained(package: object) -> None:
    names: list[str] = package.__all__  # type: ignore[attr-defined]
    assert len(names) == len(set(names)) > 0
    for name in names:
        value = getattr(package, name)
        if callable(value):
            assert (value.__doc__ or "").strip(), name


def test_importing_does_nothing_and_spaces_are_found_by_name_alone() -> None:
    """In a process of its own, since here everything is imported already."""
    script = """
import sys
import numpy, torch
before = numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), torch.get_num_threads()
import nas
assert before == (numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), torch.get_num_threads())
assert "matplotlib.pyplot" not in sys.modules, "pyplot looks for a screen"
assert not any(name.split(".")[0] in ("search_spaces", "cli") for name in sys.modules)
from nas.space.search_space import find_space
find_space("layerwise")
assert "search_spaces" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _in_a_fresh_process(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=_ROOT).stdout


@pytest.mark.parametrize("words", [["--help"], ["search", "--help"]])
def test_help_does_not_wait_for_torch(words: list[str]) -> None:
    code = f"""
import cli, sys
sys.argv = ["fusenas", *{words}]
try:
    cli.main()
finally:
    print("torch" in sys.modules)
"""
    assert _in_a_fresh_process(code).splitlines()[-1] == "False"


def test_a_public_name_is_itself_whoever_imports_the_module_of_that_name_first() -> None:
    code = """
import nas
from nas.pipeline.retrain import retrain
import nas.pipeline.search, nas.report, nas.export
print(*(getattr(nas, name).__name__ for name in ("search", "report", "export", "retrain", "evaluate")))
"""
    assert _in_a_fresh_process(code) == "search report export retrain evaluate\n"


def test_all_public_names_are_there() -> None:
    assert sorted(nas._MODULES) == sorted(nas.__all__)
    assert {getattr(nas, name).__name__ for name in nas.__all__} == set(nas.__all__)
    assert set(nas.__all__) <= set(dir(nas))
    with pytest.raises(AttributeError, match="has no attribute 'serach'"):
        nas.serach  # type: ignore[attr-defined]  # noqa: B018


def test_only_the_signatures_of_overloads_need_no_docstring() -> None:
    source = (
        '"""Module."""\n@overload\ndef f(x: int) -> int: ...\n@overload\ndef f(x: str) -> str: ...\ndef f(x): ...\n'
    )
    assert _unexplained(source, "m") == ["m.f"]
