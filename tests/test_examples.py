"""The examples and the README's snippets run, and say what they are there to say."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import nas

ROOT = Path(__file__).resolve().parent.parent


def _example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_search_on_arrays_finds_the_interaction() -> None:
    result = _example("01_search_arrays").main()
    scores = {row.name: row.score.mean for row in result.summary.leaderboard}
    assert result.summary.interaction_order >= 2
    assert scores["found"] > scores["late fusion"] + 0.2


@pytest.mark.slow
def test_a_network_of_ones_own_serves_as_encoder() -> None:
    result = _example("02_own_encoder").main()
    assert result.summary.search.depths["sensor"] == 3
    assert result.summary.leaderboard[0].score.mean > 0.6  # three classes at chance have 0.33


@pytest.mark.slow
def test_a_run_can_be_read_back(tmp_path: Path) -> None:
    nas.search(
        "digits_halves",
        operations=["additive"],
        retrain_seeds=1,
        training=nas.TrainingConfig(epochs=3),
        out=tmp_path / "run",
    )
    probabilities = _example("03_read_a_run").main(tmp_path / "run")
    assert probabilities.shape == (5, 10)
    assert float(probabilities.sum(dim=1).sub(1).abs().max()) < 1e-5  # sums of float32


@pytest.mark.slow
def test_the_snippets_of_the_readme_run() -> None:
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert snippets
    for snippet in snippets:
        done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answer, gain, *_ = done.stdout.splitlines()
        assert answer == "Fuse image and audio: multiply them at the first layer."
        found = re.fullmatch(r"This scores (\d+\.\d) points higher than (image|audio) alone.*", gain)
        assert found is not None, gain
        assert float(found[1]) > 30  # neither modality tells anything alone: 50 % against nearly all


def test_the_readme_shows_what_its_snippet_prints() -> None:
    """The numbers differ a little between machines; the words may not."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text[text.index("print(result.verdict)") :].split("```")[2].strip().splitlines()
    assert shown[0] == "Fuse image and audio: multiply them at the first layer."
    assert re.match(r"This scores \d+\.\d points higher than (image|audio) alone.* \(95 % interval ", shown[1])


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 150
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"
        for link, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", text):
            target = page.parent / link if link else page
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.slow
def test_the_notebook_runs_and_its_values_show_themselves(tmp_path: Path) -> None:
    book = json.loads((ROOT / "examples" / "04_notebook.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] for cell in book["cells"] if cell["cell_type"] == "code")
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _RUN_CELLS],
        input=json.dumps(cells),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    shown = json.loads(run.stdout.splitlines()[-1])
    assert [one["type"] for one in shown] == [
        "FusionData", "RunPlan", "RunResult", "Architecture", "Leaderboard", "DataFrame", "SearchSpace", "list"
    ]  # fmt: skip
    assert all(len(one["repr"]) < 1000 for one in shown if one["type"] != "DataFrame")
    by_type = {one["type"]: one["html"] for one in shown}
    assert "<svg" in by_type["RunResult"]
    assert "<svg" in by_type["Architecture"]
    assert "late fusion" in by_type["Leaderboard"]
    assert "fusion0" in by_type["SearchSpace"]


_RUN_CELLS = """
import ast, json, sys

names, shown = {}, []
for cell in json.load(sys.stdin):
    *before, last = ast.parse(cell).body  # a notebook shows the value of the last expression
    exec(compile(ast.Module(before, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        html = value._repr_html_() if hasattr(value, "_repr_html_") else ""
        shown.append({"type": type(value).__name__, "repr": repr(value), "html": html})
    else:
        exec(compile(ast.Module([last], []), "cell", "exec"), names)
print()
print(json.dumps(shown))
"""
