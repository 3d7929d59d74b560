"""How every figure looks: colours, sizes, signs, and the one way to save."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from nas.space.operation import installed_operations

INK = "#22283a"
SOFT = "#5d6478"
PALE = "#c9cdd8"
FAINT = "#eef0f4"
ACCENT = "#b5179e"

# Okabe & Ito, "Color Universal Design" (2008), reordered for contrast between neighbours; the seventh is Tol's indigo.
_MODALITY_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#332288")

# kind of a leaderboard row: (colour, marker, words). The greys leave the colours to the modalities.
KINDS: Mapping[str, tuple[str, str, str]] = {
    "found": (ACCENT, "o", "found by the search"),
    "refit": (ACCENT, "D", "found, trained on both splits"),
    "ensemble": (ACCENT, "p", "found networks averaged"),
    "static": (INK, "P", "the same for all samples"),
    "proposal": (SOFT, "P", "proposed by the search"),
    "modality": (SOFT, "s", "one modality alone"),
    "sum": (INK, "v", "sum of single networks"),
    "late": (INK, "D", "late fusion"),
    "transformer": (INK, "h", "late-fusion transformer"),
    "early": (INK, "^", "early fusion"),
    "operation": ("#8a90a3", "o", "one operation alone"),
    "control": ("#8a90a3", "*", "no network"),
    "random": ("#8a90a3", "X", "random architectures"),
}

# kind of a row: heading under which figure and table show it.
GROUPS: Mapping[str, str] = {
    "found": "found by the search",
    "refit": "found by the search",
    "ensemble": "found by the search",
    "static": "found by the search",
    "proposal": "proposed by the search",
    "modality": "one modality alone",
    "sum": "fusion by hand",
    "late": "fusion by hand",
    "transformer": "fusion by hand",
    "early": "fusion by hand",
    "operation": "one operation alone",
    "control": "no network",
    "random": "random architectures",
}


def look(kind: str, name: str, colours: Mapping[str, str]) -> tuple[str, str]:
    """Colour and marker of a row: by its kind, or by its name where it is a modality or of a kind that is not ours."""
    colour, marker, _ = KINDS.get(kind, (SOFT, "o", ""))
    return (colours.get(name, colour) if kind == "modality" or kind not in KINDS else colour), marker


def modality_colours(modalities: Sequence[str]) -> dict[str, str]:
    """A colour for each modality, the same in every figure of a report."""
    return {name: _MODALITY_COLOURS[i % len(_MODALITY_COLOURS)] for i, name in enumerate(modalities)}


def sign(operation: str) -> str:
    """A short sign for an operation; one that we do not know gets ∘, the sign of an unnamed operation."""
    found = installed_operations().get(operation)
    return "∘" if found is None else found.sign


def wrap(text: str, width: int, *, lines: int = 2) -> str:
    """Text on at most so many lines, with … where it was cut."""
    kept = textwrap.wrap(text, width, max_lines=lines, placeholder=" …", break_long_words=True)
    return "\n".join(kept)


def cut(text: str, width: int) -> str:
    """Text on one line of at most so many characters, with … where it was cut."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


@contextmanager
def figure_style() -> Iterator[None]:
    """Settings of all figures, in force while one is built and saved: ours upon matplotlib's own, and nobody else's."""
    settings: Any = {
        "font.family": ["DejaVu Sans"],
        "font.size": 10,
        "text.color": INK,
        "text.parse_math": False,  # a dollar sign in somebody's class name is a dollar sign
        "axes.edgecolor": PALE,
        "axes.labelcolor": SOFT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "grid.linewidth": 1.0,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "legend.frameon": False,
        "figure.facecolor": "white",
        "svg.fonttype": "path",  # text looks the same on every machine; the page carries it as text besides
        "svg.hashsalt": "fusenas",
        "figure.dpi": 100,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        # A name in a script that the font lacks shows boxes in the picture; the page's tables spell it.
        warnings.filterwarnings("ignore", message=r"(?s).*Glyph .* missing from")
        yield


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes every time."""
    buffer = io.BytesIO()
    with figure_style():
        figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Creator": "fusenas"})
    return buffer.getvalue()


def to_png(figure: Figure) -> bytes:
    """The figure as PNG at twice screen resolution."""
    buffer = io.BytesIO()
    with figure_style():
        figure.savefig(buffer, format="png", dpi=200, metadata={"Software": "fusenas"})
    return buffer.getvalue()
