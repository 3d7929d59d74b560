"""Figures are the same whatever settings of matplotlib lie in the current folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from nas.report.style import figure_style, to_png, to_svg

HOSTILE = """backend: module://planted
text.usetex: True
font.size: 30
axes.linewidth: 9
path.sketch: 10, 10, 10
svg.hashsalt: other
savefig.bbox: tight
no.such.key: 3
"""

DRAW = """
import sys
import nas.report
from tests.report.test_style import drawn
sys.stdout.write(drawn().hex())
"""


def drawn() -> bytes:
    """A figure of lines and text, as SVG and as PNG."""
    with figure_style():
        figure = Figure()
        figure.subplots().plot([1, 2], [3, 4])
        figure.suptitle("a dollar is a dollar: $x_1$")
    return to_svg(figure) + to_png(figure)


@pytest.mark.parametrize("is_pipe", [False, True])
def test_a_strangers_matplotlibrc_in_the_current_folder_changes_nothing(tmp_path: Path, is_pipe: bool) -> None:
    (tmp_path / "planted.py").write_text("raise SystemExit('it was run')")
    if is_pipe:
        os.mkfifo(tmp_path / "matplotlibrc")
    else:
        (tmp_path / "matplotlibrc").write_text(HOSTILE)
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-P", "-c", DRAW],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert bytes.fromhex(done.stdout) == drawn()
