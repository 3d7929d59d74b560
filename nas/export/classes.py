"""Classes as text: what a `Source` says of a module becomes a class of ordinary `torch.nn` code."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import count
from typing import Any, cast

import torch
from torch import nn

from nas.codegen import Construction, Method, Source
from nas.encoders.base import Standardize, beside_peaks, channels_last, shorten
from nas.encoders.module import submodule_outputs
from nas.encoders.pretrained.masking import frames_mask, masked_tokens, normalised_wave
from nas.encoders.regions import patches, place_tokens
from nas.space.operation import stretch

Parts = Mapping[str, tuple[str, Source]]
"""Path of a submodule to the name wanted for its class and how that is written."""

_STANDARDIZE = '''\
class Standardize(nn.Module):
    """(x - mean) / deviation, with statistics of the training data."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))

    def forward(self, values: Tensor) -> Tensor:
        return (values.float() - self.mean) / self.deviation
'''

_HELPERS: Sequence[Callable[..., Any]] = (
    *(stretch, shorten, channels_last, beside_peaks, patches, place_tokens),
    *(submodule_outputs, masked_tokens, normalised_wave, frames_mask),
)
"""Functions whose own text is taken over where statements call them."""

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d)


class ClassWriter:
    """Collects the classes, helper functions and imports that the file needs."""

    def __init__(self) -> None:
        self.helpers: dict[str, str] = {}
        self.classes: dict[str, str] = {}
        self.imports: dict[str, None] = {}

    def write(self, name: str, module: nn.Module, source: Source, parts: Parts) -> tuple[str, dict[str, str]]:
        """Writes a class, or finds it already written.

        Args:
            name: Wanted for the class; a number is appended where another class has it.
            module: What the class stands for.
            source: How it is written.
            parts: How those submodules are written that depend on what goes in.

        Returns:
            The name of the class, and the name of each of its tensors to that in the module.
        """
        statements: list[str] = []
        names: dict[str, str] = {}
        for attribute, path in source.members.items():
            part = reduce(getattr, path.split("."), module)
            if isinstance(part, nn.Module):
                text, inner = self._construct(part, parts.get(path))
                names |= {f"{attribute}.{new}": f"{path}.{old}" for new, old in inner.items()}
                statements.append(f"self.{attribute} = {text}")
            else:
                zeros = f"torch.zeros({', '.join(map(str, part.shape))})"
                names[attribute] = path
                statements.append(
                    f"self.{attribute} = nn.Parameter({zeros})"
                    if isinstance(part, nn.Parameter)
                    else f'self.register_buffer("{attribute}", {zeros})'
                )
        methods = source.all_methods()
        for helper in [*source.helpers, *_HELPERS]:
            if any(f"{helper.__name__}(" in line for method in methods for line in method.body):
                self.helpers[helper.__name__] = inspect.getsource(helper)
        body = "\n".join(
            [
                _docstring(source.doc, indent=4) + "\n",
                "    def __init__(self) -> None:",
                *(f"        {statement}" for statement in ["super().__init__()", *statements]),
                *(line for method in methods for line in _method(method)),
                "",
            ]
        )
        found = name
        for number in count(2):
            text = f"class {found}(nn.Module):\n{body}"
            if self.classes.setdefault(found, text) == text:
                return found, names
            found = f"{name}{number}"
        raise AssertionError("numbers have no end")

    def _construct(self, module: nn.Module, part: tuple[str, Source] | None) -> tuple[str, dict[str, str]]:
        """The expression that makes a module, and the name of each of its tensors there to that in the module."""
        if isinstance(made := getattr(module, "construction", None), Construction):
            self.imports |= dict.fromkeys(made.imports)
            return made.text, {name: name for name in module.state_dict()}
        if part is None and hasattr(module, "source"):  # a module that is written alike whatever goes in
            part = type(module).__name__, cast(Any, module).source()
        if part is not None:
            name, names = self.write(part[0], module, part[1], {})
            return f"{name}()", names
        if isinstance(module, Standardize):
            self.classes.setdefault("Standardize", _STANDARDIZE)
            text = f"Standardize({', '.join(map(str, module.mean.shape))})"
        elif isinstance(module, nn.Sequential):
            # In evaluation mode dropout does nothing; it comes last, so that the numbers of the others stay.
            layers = [layer for layer in module if not isinstance(layer, _DROPOUT)]
            assert layers == list(module)[: len(layers)]
            text = f"nn.Sequential({', '.join(constructor(layer) for layer in layers)})"
        else:
            text = constructor(module)
        return text, {name: name for name in module.state_dict()}


def _method(method: Method) -> list[str]:
    """Its lines, with an empty one before."""
    returned = "Tensor" if method.outputs == 1 else f"tuple[{', '.join(['Tensor'] * method.outputs)}]"
    arguments = ", ".join(name if ":" in name else f"{name}: Tensor" for name in method.arguments)
    return [
        f"\n    def {method.name}(self, {arguments}) -> {returned}:",
        *([_docstring(method.doc, indent=8)] if method.doc else []),
        *(f"        {statement}" for statement in method.body),
    ]


def _docstring(text: str, *, indent: int) -> str:
    space = " " * indent
    return textwrap.fill('"""' + safe(text), 85, initial_indent=space, subsequent_indent=space) + '"""'


def constructor(module: nn.Module) -> str:
    """The call that makes a layer of torch's own: its `repr`, without what goes without saying.

    Example: `nn.Conv2d(3, 16, 3, padding=1)`
    """
    kind = type(module)
    assert getattr(nn, kind.__name__) is kind, f"{kind.__name__} is no layer of torch's"
    call = ast.parse(repr(module), mode="eval").body
    assert isinstance(call, ast.Call)
    parameters = inspect.signature(kind).parameters
    given = [_simple(ast.literal_eval(value)) for value in call.args]
    named = {str(argument.arg): _simple(ast.literal_eval(argument.value)) for argument in call.keywords}
    given += [named.pop(name) for name in list(named) if parameters[name].default is inspect.Parameter.empty]
    for name in list(named):
        fewer = {key: value for key, value in named.items() if key != name}
        with torch.device("meta"):
            if repr(kind(*given, **fewer)) == repr(module):
                named = fewer
    return (
        f"nn.{kind.__name__}({', '.join([*map(repr, given), *(f'{key}={value!r}' for key, value in named.items())])})"
    )


def _simple(value: Any) -> Any:
    """A number for a tuple that repeats it."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def safe(text: str) -> str:
    """Text that cannot end the docstring it stands in, nor say anything but itself there."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text).replace("\\", "/").replace('"', "'")
