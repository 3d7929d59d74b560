"""What the parts of a network are called in the stand-alone Python file."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence

from torch import nn

from nas.errors import UserError
from nas.streams import identifier


class Names(dict[str, str]):
    """What inputs, taps and nodes are called in the code: an identifier each, made when it is first asked for."""

    def __missing__(self, wanted: str) -> str:
        name, at, depth = wanted.partition("@")
        modality = name = identifier(name)
        if at:
            name = f"{modality}_{depth}" if modality[-1].isdigit() else f"{modality}{depth}"
        if not name.isidentifier():
            raise UserError(f"{name!r} cannot be a name in Python code; rename it and search again")
        while _is_kept(name) or name in self.values():
            name += "_"
        self[wanted] = name
        return name


_KEPT = """
    torch nn F Tensor Path CLASSES load main safe_open load_file self network outputs
    values pixels clock mask scale embedding standardize head shift state
    beside_peaks patches place_tokens
    piecewise stretch shorten outer length bias gate logits chosen output hidden joined tokens shared rest
    product products ranks features combine forms norm limit attention gather spread rank_weights added multiplied
    normed route taken pooled allowed cascade going_on there
"""
"""Words that the file, an encoder or an operation uses itself."""


def _is_kept(name: str) -> bool:
    """Whether a name has a meaning already: for Python, for torch, or in the file."""
    numbered = re.fullmatch(r"(layer|tap|standardize|route|sum)\d*", name) is not None
    return keyword.iskeyword(name) or hasattr(nn.Module(), name) or name in _KEPT.split() or numbered


def camel(name: str) -> str:
    """A name as part of a class's: `left_hand` as `LeftHand`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def used(names: Sequence[str], statements: Sequence[str]) -> list[str]:
    """Those variables that some statements read; an attribute of the same name is another thing."""
    text = "\n".join(statements)
    return [name for name in names if re.search(rf"(?<![\w.]){re.escape(name)}\b", text)]


def assigned(statements: Sequence[str]) -> list[str]:
    """The variables that some statements assign, each once, in order."""
    found = [re.match(r"(\w+) = ", statement) for statement in statements]
    return list(dict.fromkeys(one[1] for one in found if one))
