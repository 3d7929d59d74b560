"""The network as one Python file of ordinary `torch.nn` code that needs torch and safetensors alone.

Encoders and operations say of themselves how somebody would write them by hand for these very inputs (`nas.source`).
Here they are put together to a network, and that to a file with a `load` and a `main`.
"""

from __future__ import annotations

import ast
import keyword
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nas.architecture import tap_depth, tap_modality, tap_name
from nas.encoders import Encoder
from nas.errors import UserError
from nas.export.classes import ClassWriter, safe
from nas.export.portable import Portable
from nas.source import Source, Term

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

_PRINTING = {
    "classification": """\
for name, probability in zip(CLASSES, outputs.softmax(dim=0).tolist()):
        print(f"{name}: {probability:.3f}")""",
    "multilabel": """\
for name, probability in zip(CLASSES, outputs.sigmoid().tolist()):
        print(f"{name}: {probability:.3f}")""",
    "regression": "print(outputs.tolist())",
}


def write_code(
    portable: Portable, inputs: Sequence[Tensor], description: Mapping[str, Any], about: str
) -> tuple[str, dict[str, Tensor]]:
    """The text of the file, without shapes, and the weights under the names that it uses.

    Args:
        portable: The network with its encoders, on the CPU.
        inputs: Some samples for it, from which shapes are read.
        description: As `nas.weights.describe_network` has it: task, classes and architecture hash are read.
        about: What stands at the top of the file; the first line is a sentence.

    Raises:
        UserError: If an encoder or operation does not say how it is written.
    """
    task = description["task"]
    source, parts = _network(portable, inputs, regression=task == "regression")
    writer = ClassWriter()
    _, originals = writer.write("Network", portable.network, source, parts)
    main = _MAIN.format(
        blanks="\n    ".join(
            f"{name} = {_blank(tensor)}" for name, tensor in zip(source.arguments, inputs, strict=True)
        ),
        arguments=", ".join(source.arguments),
        printing=_PRINTING[task],
    )
    body = "\n\n".join([*writer.helpers.values(), *writer.classes.values(), _LOAD, main])
    top = [
        f'"""{safe(about)}\n"""\n',
        "from pathlib import Path\n",
        "import torch",
        *(["import torch.nn.functional as F"] if re.search(r"\bF\.", body) else []),
        "from safetensors import safe_open",
        "from safetensors.torch import load_file",
        "from torch import Tensor, nn\n",
        f"ARCHITECTURE_HASH = {description['architecture_hash']!r}",
        *([] if task == "regression" else [f"CLASSES = {_classes(description['class_names'])}"]),
    ]
    text = "\n".join([*top, "\n", body, "", 'if __name__ == "__main__":\n    main()\n'])
    state = portable.network.state_dict()
    return formatted(text), {new: state[old].clone() for new, old in originals.items()}


def _classes(names: Sequence[str]) -> str:
    numbers = f"[str(number) for number in range({len(names)})]"
    return numbers if list(names) == list(map(str, range(len(names)))) else repr(list(map(str, names)))


def formatted(text: str) -> str:
    """Python text as ruff lays it out by default, whatever the settings of the project around it."""
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--quiet", "--stdin-filename", "network.py", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


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


def _network(
    portable: Portable, inputs: Sequence[Tensor], *, regression: bool
) -> tuple[Source, dict[str, tuple[str, Source]]]:
    """How the whole network is written, and how those of its parts are that depend on what goes in."""
    network, names = portable.network, _Names()
    arguments = [names[name] for name in portable.names]
    examples = dict(zip(portable.names, inputs, strict=True))
    members: dict[str, str] = {}
    parts: dict[str, tuple[str, Source]] = {}
    body: list[str] = []
    for modality, depths in portable.depths.items():
        encoder, arrays = network.encoders[modality], portable.arrays[modality]
        assert isinstance(encoder, Encoder)
        given = [names[array] for array in arrays]
        source = encoder.source(given, [examples[array].shape[1:] for array in arrays], depths).source(given)
        parts[f"encoders.{modality}"] = (f"{_camel(modality)}Encoder", source)
        members[names[f"{modality}_encoder"]] = f"encoders.{modality}"
        encoded = f"self.{names[f'{modality}_encoder']}({', '.join(given)})"
        taps = [names[tap_name(modality, depth)] for depth in depths]
        if len(taps) > 1:
            body.append(f"{', '.join(taps)} = {encoded}")
        mask = f" * {names[portable.masks[modality]]}[:, None, None]" if modality in portable.masks else ""
        for tap, depth in zip(taps, depths, strict=True):
            members[tap] = f"adapters.{modality}_{depth}.linear"
            body.append(f"{tap} = F.gelu(self.{tap}({tap if len(taps) > 1 else encoded})){mask}")
    body.append(f"return self.head({_nodes(portable, inputs, names, members, parts, body)}.mean(dim=1))")
    members["head"] = "head.linear"
    if regression:
        members |= {"scale": "head.scale", "shift": "head.shift"}
        body[-1] += " * self.scale + self.shift"
    doc = f"Maps {', '.join(arguments)} to {'predictions' if regression else 'logits'}."
    return Source(doc=doc, arguments=arguments, members=members, forward=body), parts


def _nodes(
    portable: Portable,
    inputs: Sequence[Tensor],
    names: _Names,
    members: dict[str, str],
    parts: dict[str, tuple[str, Source]],
    body: list[str],
) -> str:
    """Adds what the fusion nodes do to members, parts and statements of the network.

    Returns:
        The variable that holds the state of the last node.
    """
    with torch.no_grad():
        taps = zip(portable.tap_names, portable.taps(*inputs), strict=False)
    states = {name: Term(names[name], tap.shape[1]) for name, tap in taps}
    for node in portable.network.space.nodes:
        (choice,) = node.choices
        before = states.get(node.residual or "")
        sources = [states[name] for name in choice.inputs if name in states]
        if not sources or len(sources) < len(choice.inputs):  # what reads an idle node is idle too
            if before:
                states[node.name] = before
            continue
        operation = portable.network.operation(node.name, choice.key)
        output = operation.source(sources).forward[-1].removeprefix("return ")
        if operation.source(sources).members:  # else an expression, such as that of `carry`, not worth a class
            path, attribute = f"nodes.{node.name}.{choice.key}", names[node.name]
            arguments = [names[name] for name in _short(choice.inputs)]
            terms = [Term(text, source.time) for text, source in zip(arguments, sources, strict=True)]
            members[attribute] = path
            parts[path] = (type(operation).__name__, operation.source(terms))
            output = f"self.{attribute}({', '.join(source.text for source in sources)})"
        time = max(source.time for source in sources)
        if before and before.time == time:
            output = f"{before.text} + {output}"
        elif before:  # as `nas.graph.add_states` has it
            output, time = f"{before.text}.mean(dim=1, keepdim=True) + {output}.mean(dim=1, keepdim=True)", 1
        body.append(f"{names[node.name]} = {output}")
        states[node.name] = Term(names[node.name], time)
    return states[portable.network.space.nodes[-1].name].text


def _short(inputs: Sequence[str]) -> Sequence[str]:
    """What an operation calls its inputs: by modality where that tells them apart."""
    modalities = [tap_modality(name) for name in inputs]
    return modalities if len(set(modalities)) == len(inputs) else inputs


class _Names(dict[str, str]):
    """What inputs, taps and nodes are called in the code: an identifier each, made when it is first asked for."""

    def __missing__(self, wanted: str) -> str:
        name = wanted
        if "@" in wanted:
            modality, depth = tap_modality(wanted), tap_depth(wanted)
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
    stretch shorten outer length bias gate logits chosen output hidden joined tokens shared rest product products ranks
    features combine forms norm limit attention gather spread rank_weights added multiplied
"""
"""Words that the file, an encoder or an operation uses itself."""


def _is_kept(name: str) -> bool:
    """Whether a name has a meaning already: for Python, for torch, or in the file."""
    numbered = re.fullmatch(r"(layer|tap|standardize)\d*", name) is not None
    return keyword.iskeyword(name) or hasattr(nn.Module(), name) or name in _KEPT.split() or numbered


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
