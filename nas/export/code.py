"""The network as one Python file of ordinary `torch.nn` code that needs torch and safetensors alone.

Encoders and operations say of themselves how somebody would write them by hand for these very inputs (`nas.codegen`).
Here they are put together to a network, and that to a file with a `load` and a `main`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nas.errors import UserError
from nas.export.classes import ClassWriter, safe
from nas.export.network_code import network_source
from nas.export.portable import Portable
from nas.isolation import run_python
from nas.tasks import TASKS

LINE_LENGTH = 88
"""Ruff's own default, so that the file is clean in anybody's project."""

_LOAD = '''\
def load(path: Path) -> Network:
    """The network with its trained weights, ready to predict."""
    with safe_open(path, framework="pt") as file:
        if file.metadata()["architecture_hash"] != ARCHITECTURE_HASH:
            raise ValueError(f"{path} holds weights of another architecture")
    network = Network()
    network.load_state_dict(load_file(path))
    return network.eval()
'''

_MAIN = '''\
def main() -> None:
    """Predicts for one blank sample; put yours in its place."""
    network = load(Path(__file__).with_suffix(".safetensors"))
    {blanks}
    with torch.no_grad():
        outputs = network({arguments})[0]
    {printing}
'''


def write_code(
    portable: Portable, inputs: Sequence[Tensor], description: Mapping[str, Any], about: str
) -> tuple[str, dict[str, Tensor]]:
    """The text of the file, without shapes, and the weights under the names that it uses.

    Args:
        portable: The network with its encoders, on the CPU.
        inputs: Some samples for it, from which shapes are read.
        description: As `nas.saved.weights.describe_network` has it: task, classes and architecture hash are read.
        about: What stands at the top of the file; the first line is a sentence.

    Raises:
        UserError: If an encoder or operation does not say how it is written.
    """
    kind = TASKS[description["task"]]
    source, parts = network_source(portable, inputs, regression=not kind.has_probabilities)
    writer = ClassWriter()
    _, originals = writer.write("Network", portable.network, source, parts)
    main = _MAIN.format(
        blanks="\n    ".join(
            f"{name} = {_blank(tensor)}" for name, tensor in zip(source.arguments, inputs, strict=True)
        ),
        arguments=", ".join(source.arguments),
        printing=kind.printing,
    )
    body = "\n\n".join([*writer.helpers.values(), *writer.classes.values(), _LOAD, main])
    top = [
        f'"""{safe(about)}\n"""\n',
        "from pathlib import Path\n",
        "import torch",
        *(["import torch.nn.functional as F"] if re.search(r"\bF\.", body) else []),
        "from safetensors import safe_open",
        "from safetensors.torch import load_file",
        "from torch import Tensor, nn",
        *writer.imports,
        "",
        f"ARCHITECTURE_HASH = {description['architecture_hash']!r}",
        *([f"CLASSES = {_classes(description['class_names'])}"] if kind.has_probabilities else []),
    ]
    text = "\n".join([*top, "\n", body, "", 'if __name__ == "__main__":\n    main()\n'])
    state = portable.network.state_dict()
    return formatted(text), {new: state[old].clone() for new, old in originals.items()}


def _classes(names: Sequence[str]) -> str:
    numbers = f"[str(number) for number in range({len(names)})]"
    return numbers if list(names) == list(map(str, range(len(names)))) else repr(list(map(str, names)))


def formatted(text: str) -> str:
    """Python text as ruff lays it out by default, whatever the settings of the project around it."""
    options = ["format", "--isolated", "--no-cache", "--quiet", "--stdin-filename", "network.py", "-"]
    code, printed, told = run_python("ruff", options, given=text)
    if code:
        raise UserError(f"ruff, which lays out exported code, does not run: {told.strip()[-200:]}")
    return printed


def with_shapes(text: str, shapes: Mapping[int, str]) -> str:
    """The same code with shapes as comments.

    Args:
        text: Of the file.
        shapes: Last line of a statement, counted from 1, to the shape of what it computes.
    """
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if number not in shapes:
            lines.append(line)
        elif len(line) + len(shapes[number]) + 4 <= LINE_LENGTH:
            lines.append(f"{line}  # {shapes[number]}")
        else:
            lines += [f"{line[: len(line) - len(line.lstrip())]}# {shapes[number]}", line]
    commented = "\n".join([*lines, ""])
    assert ast.dump(ast.parse(commented)) == ast.dump(ast.parse(text)), "a comment changed the code"
    return commented


def _blank(example: Tensor) -> str:
    """A sample of zeros; of a mask, one that is there."""
    if example.dtype == torch.bool and example.dim() == 1:
        return "torch.ones(1, dtype=torch.bool)"
    dtype = "" if example.dtype == torch.float32 else f", dtype={example.dtype}"
    return f"torch.zeros({', '.join(map(str, (1, *example.shape[1:])))}{dtype})"
