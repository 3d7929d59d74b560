"""Imports matplotlib without the `matplotlibrc` of the current folder, which may be a stranger's.

That file comes first in matplotlib's own search, at its import: it may name a backend to load, have every text set by
LaTeX, or be a pipe that nobody writes into. What the user has set at home, `figure_style` undoes for our figures alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def import_matplotlib() -> None:
    """Imports it from a folder without such a file; from where we are, if that has none."""
    if "matplotlib" in sys.modules or not os.path.lexists("matplotlibrc"):
        return
    here = Path.cwd()
    os.chdir(Path(__file__).parent)
    try:
        __import__("matplotlib")
    finally:
        os.chdir(here)


import_matplotlib()
