"""Names of pretrained networks: "timm:resnet18", "hf:./my-bert", "torchvision:resnet18:random"."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas.errors import UserError
from nas.fields import told

LIBRARIES = {"hf": "transformers", "timm": "timm", "torchvision": "torchvision"}
"""What a name begins with, to the package that it needs."""

RANDOM = ":random"
"""Ends a name whose weights are drawn instead of loaded."""


@dataclass(frozen=True, kw_only=True)
class PretrainedName:
    """Which network, with which weights.

    Attributes:
        library: A key of `LIBRARIES`.
        name: As the library knows it, or a folder.
        file: Of weights that are loaded instead of the library's own; empty for those.
        is_random: Whether weights are drawn.
    """

    library: str
    name: str
    file: str = ""
    is_random: bool = False

    @classmethod
    def parse(cls, text: str) -> PretrainedName | None:
        """From a text; None if it is no name of this kind.

        Raises:
            UserError: If it begins like one and names nothing, or two kinds of weights.
        """
        library, colon, rest = text.partition(":")
        if not colon or library not in LIBRARIES:
            return None
        is_random = rest.endswith(RANDOM)
        name, at, file = rest.removesuffix(RANDOM).partition("@")
        if not name or (at and not file) or (file and is_random):
            raise UserError(
                f"{told(text)} is no name of a network; expected such as {library}:NAME, {library}:./folder, "
                f"{library}:NAME@weights.safetensors or {library}:NAME:random"
            )
        return cls(library=library, name=name, file=file, is_random=is_random)

    @property
    def folder(self) -> Path | None:
        """The local folder that it names; None for a name of the library."""
        path = Path(self.name).expanduser()
        return path if self.name.startswith((".", "/", "~")) or path.is_dir() else None
