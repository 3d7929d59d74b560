"""A network of the user's own, named by where it is imported from: "mypackage.models:MyNet".

What is imported runs. So nothing is imported because a file says so: a run that names a module is loaded only if the
caller names the same one again, see `refuse_unnamed`.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.codegen import Construction, TapsSource
from nas.data.fusion_data import FusionData
from nas.encoders.base import (
    NOTHING,
    Encoder,
    KnownEncoder,
    Rebuild,
    State,
    Wishes,
    map_tap_source,
    sequence_tap_source,
)
from nas.encoders.module import ModuleEncoder, as_input, spread, submodule_outputs
from nas.errors import UserError, one_line
from nas.fields import Flag, Several, Text, Whole, told

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def is_import_path(text: object) -> bool:
    """Whether a text is a module and a name in it, such as mypackage.models:MyNet."""
    return isinstance(text, str) and len(text) <= 200 and _PATH.fullmatch(text) is not None


def refuse_unnamed(path: object, named: str | None, modality: str) -> None:
    """Refuses to import what a file names, unless the caller has named the same.

    Args:
        path: As the file has it.
        named: By the caller for this modality; None for nothing.
        modality: For the error.

    Raises:
        UserError: If they are not the same.
    """
    if not is_import_path(path):
        raise UserError(f"the encoder of {modality!r} is said to be {told(path)}, which is no import path")
    if named is None:
        raise UserError(
            f"the encoder of {modality!r} is a module of its own, {path}, and loading the run would import it: if you "
            f"trust that module, name it with --encoder {modality}={path}, in Python encoders={{{modality!r}: …}}"
        )
    if path != named:
        raise UserError(f"the encoder of {modality!r} is {path}, but {told(named)} is named for it; name the same")


def make_module(path: str) -> nn.Module:
    """Imports a class or function and calls it without arguments.

    Raises:
        UserError: If it cannot be imported, cannot be called so, or makes no module of torch.
    """
    where, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(where)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"cannot import the encoder {path}: {one_line(error)}; install its package, or put its folder on PYTHONPATH"
        ) from error
    try:
        module = found()
    except TypeError as error:
        raise UserError(
            f"the encoder {path} cannot be made without arguments ({one_line(error)}); name a class "
            "or a function that needs none"
        ) from error
    if not isinstance(module, nn.Module):
        raise UserError(f"the encoder {path} makes a {type(module).__name__}; expected a torch.nn.Module")
    top, _, inner = name.partition(".")
    text = f"{top}.{inner}()" if inner else f"{top}()"
    module.construction = Construction(imports=(f"from {where} import {top}",), text=text)  # type: ignore[assignment]
    return module


def import_folder(path: str) -> Path:
    """The folder that an import path, whose module is imported already, was found in."""
    top = sys.modules[path.partition(":")[0].partition(".")[0]]
    file = Path(str(top.__file__ or next(iter(top.__path__)))).resolve()
    return file.parents[1] if file.name == "__init__.py" else file.parent


def imported_in(encoders: nn.ModuleDict) -> dict[str, str]:
    """Modality to import path, of the encoders that are imported or hold one that is."""
    return {
        name: inner.path
        for name, encoder in encoders.items()
        for inner in encoder.modules()
        if isinstance(inner, ImportedEncoder)
    }


def find_blocks(module: nn.Module, example: Tensor) -> list[str]:
    """Submodules to tap: those that `module.taps` names, else its blocks as the forward pass goes through them.

    Blocks are the children of the module, or of its only child, that put out one tensor of 2 to 4 axes.

    Args:
        module: In evaluation mode.
        example: One batch for it.

    Raises:
        UserError: If no block can be tapped.
    """
    named = getattr(module, "taps", None)
    if isinstance(named, list | tuple) and named and all(isinstance(name, str) for name in named):
        return list(named)
    prefix, within = "", module
    while len(children := dict(within.named_children())) == 1 and next(iter(children.values()))._modules:
        name, within = next(iter(children.items()))
        prefix = f"{prefix}{name}."
    with torch.no_grad():
        outputs = submodule_outputs(module, [prefix + name for name in children], example)
    blocks = [name for name, output in outputs.items() if isinstance(output, Tensor) and output.dim() in (2, 3, 4)]
    if not blocks:
        raise UserError(
            f"no block of {type(module).__name__} puts out one tensor of 2, 3 or 4 axes; name submodules to tap in an "
            'attribute of it, such as taps = ["layer1", "layer2"]'
        )
    return [blocks[index] for index in spread(len(blocks))]


class ImportedEncoder(KnownEncoder):
    """Runs a module of the user's own, tapped at its blocks.

    Args:
        path: Where the module is imported from.
        taps: Names of submodules, shallow to deep.
        channels: Of the taps, where they are known.
        tokens: Whether the module takes token ids.
        example: One batch by which the channels are told, where they are not known.
    """

    form: ClassVar = {
        "path": Text(200),
        "taps": Several(Text(200), 1, 64),
        "channels": Several(Whole(1, 2**24), 1, 64),
        "tokens": Flag(),
    }

    def __init__(
        self,
        path: str,
        *,
        taps: Sequence[str] | None = None,
        channels: Sequence[int] | None = None,
        tokens: bool = False,
        example: Tensor | None = None,
    ) -> None:
        super().__init__()
        with torch.device("cpu"):  # the module's own code may not know of any other
            module = make_module(path)
        if taps is None:
            assert example is not None
            taps = find_blocks(module.eval(), as_input(module, example, tokens=tokens))
            module.train()
        self.path = path
        self.inner = ModuleEncoder(module, taps, example, tokens=tokens, channels=channels)
        self.channels = self.inner.channels
        self.blueprint = {
            "encoder": "imported",
            "path": path,
            "taps": list(taps),
            "channels": list(self.channels),
            "tokens": tokens,
        }

    @classmethod
    def fit(cls, arrays: Sequence[NDArray[Any]], wishes: Wishes = NOTHING) -> ImportedEncoder:
        """Not from arrays alone: it needs a path, see `ImportedBuilder`.

        Raises:
            TypeError: Always.
        """
        raise TypeError("an imported encoder needs the path of a module")

    @classmethod
    def blank(cls, values: dict[str, Any], rebuild: Rebuild) -> ImportedEncoder:
        """See the base class. It imports: `nas.encoders.from_blueprint` asks first whether the caller named it."""
        if len(values["taps"]) != len(values["channels"]):
            raise UserError(f"it has {len(values['taps'])} taps and channels of {len(values['channels'])}")
        return cls(values["path"], taps=values["taps"], channels=values["channels"], tokens=values["tokens"])

    def forward(self, inputs: Sequence[Tensor], num_taps: int | None = None) -> list[Tensor]:
        """As `ModuleEncoder`."""
        taps: list[Tensor] = self.inner(inputs, num_taps)
        return taps

    def start(self, inputs: Sequence[Tensor]) -> State:
        """As `ModuleEncoder`."""
        return self.inner.start(inputs)

    def extend(self, state: State, first: int, num_taps: int | None = None) -> tuple[list[Tensor], State]:
        """As `ModuleEncoder`."""
        return self.inner.extend(state, first, num_taps)

    def source(
        self,
        inputs: Sequence[str],
        shapes: Sequence[Sequence[int]],
        depths: Sequence[int],
    ) -> TapsSource:
        """The module is imported, and its submodules are read as they run."""
        names = [self.inner.tap_names[depth] for depth in depths]
        with torch.no_grad():
            blank = as_input(self.inner.module, torch.zeros(1, *shapes[0]), tokens=self.inner.tokens)
            outputs = submodule_outputs(self.inner.module, names, blank)

        def tap(depth: int) -> str:
            name, output = self.inner.tap_names[depth], outputs[self.inner.tap_names[depth]]
            text = f"outputs[{name!r}]"
            if output.dim() == 4:
                return map_tap_source(text, *output.shape[1:])
            return f"{text}.unsqueeze(1)" if output.dim() == 2 else sequence_tap_source(text, output.shape[1])

        return TapsSource(
            doc=f"Runs {self.path}, which has to be installed, and reads what is tapped of it.",
            members={"module": "inner.module"},
            layers=[
                f"values = {inputs[0]}.{'long' if self.inner.tokens else 'float'}()",
                f"outputs = submodule_outputs(self.module, {names!r}, values)",
            ],
            taps={depth: tap(depth) for depth in depths},
        )


class ImportedBuilder:
    """Builds the encoder for one modality; its taps are found once, on two samples of the weights split.

    Args:
        path: Where the module is imported from.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, data: FusionData, name: str) -> Encoder:
        """A fresh encoder.

        Raises:
            UserError: If the module cannot be made, tapped or run on the data.
        """
        modality = data.modalities[name]
        if len(modality.arrays) != 1:
            raise UserError(f"modality {name!r} has {len(modality.arrays)} arrays; an imported encoder takes one")
        example = torch.from_numpy(modality.arrays[0][data.splits["weights"][:2]])
        try:
            return ImportedEncoder(self.path, tokens=modality.kind == "tokens", example=example)
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"the encoder {self.path} cannot take {name!r} of shape {tuple(example.shape)}: {one_line(error)}"
            ) from error
