"""What can be exported: each format writes its files into a folder, reads them back, and tells how far they agree."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import networkx as nx
from safetensors.torch import save

from nas.errors import UserError
from nas.export.card import to_card
from nas.export.code import with_shapes, write_code
from nas.export.graph import architecture_graph, to_dot, to_graphml, to_svg
from nas.export.program import write_onnx, write_program
from nas.export.record import to_json
from nas.export.subject import Subject
from nas.export.verify import verify
from nas.report.numbers import metric_words, score_text
from nas.saved.weights import MAX_BYTES
from nas.space.architecture import Architecture


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way to take a run away.

    Attributes:
        words: What it is, for people.
        write: Writes files into a folder, and returns the largest difference of an output from the network's, in units
            of the largest output or of 1; None where there is no output.
        packages: Names to import that must be installed for it.
        holds_network: Whether it needs the network, and the data to try it on.
        is_program: Whether it can do without the encoders.
    """

    words: str
    write: Callable[[Subject, Path], float | None]
    packages: tuple[str, ...] = ()
    holds_network: bool = False
    is_program: bool = False

    def missing(self) -> list[str]:
        """Packages that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]


def _json(subject: Subject, folder: Path) -> None:
    file = folder / "architecture.json"
    text = json.dumps(to_json(subject.summary), indent=2, ensure_ascii=False) + "\n"
    # A name that is no valid Unicode, as from a file system, stays readable: JSON escapes it the same way.
    file.write_bytes(text.encode(errors="backslashreplace"))
    read = Architecture.from_json(file.read_text(encoding="utf-8"))
    if read != subject.summary.architecture:
        raise UserError(f"the exported {file.name} does not read back as the architecture; nothing was written")


def _graph(subject: Subject, folder: Path) -> None:
    graph = architecture_graph(subject.summary)
    (folder / "architecture.graphml").write_bytes(to_graphml(subject.summary))
    (folder / "architecture.dot").write_text(to_dot(subject.summary), encoding="utf-8")
    (folder / "architecture.svg").write_bytes(to_svg(subject.summary))
    try:
        read = nx.read_graphml(folder / "architecture.graphml")
        ElementTree.parse(folder / "architecture.svg")
    except (ElementTree.ParseError, nx.NetworkXError) as error:
        raise UserError(f"the exported graph does not read back ({error}); nothing was written") from error
    if dict(read.nodes(data=True)) != dict(graph.nodes(data=True)) or set(read.edges) != set(graph.edges):
        raise UserError("the exported architecture.graphml reads back as another graph; nothing was written")


def _card(subject: Subject, folder: Path) -> None:
    held = any(FORMATS[name].holds_network for name in subject.formats)
    inputs = subject.program[0].names if held else ()
    card = to_card(subject.summary, subject.formats, inputs, subject.stem, dropped=subject.dropped)
    (folder / "card.md").write_text(card, encoding="utf-8", errors="backslashreplace")


def _safetensors(subject: Subject, folder: Path) -> float:
    file = folder / "weights.safetensors"
    file.write_bytes(subject.run_folder.read_bytes(file.name, max_bytes=MAX_BYTES))
    return verify("safetensors", file, subject.network, subject.inputs)[0]


def _python(subject: Subject, folder: Path) -> float:
    file, network = folder / "network.py", subject.network
    code, weights = write_code(network, subject.inputs, subject.description, _about(subject))
    file.write_text(code, encoding="utf-8")
    metadata = {"architecture_hash": subject.description["architecture_hash"]}
    file.with_suffix(".safetensors").write_bytes(save(weights, metadata=metadata))  # so that a full disk is an OSError
    difference, shapes = verify("python", file, network, subject.inputs)
    file.write_text(with_shapes(code, shapes), encoding="utf-8")
    return difference


def _about(subject: Subject) -> str:
    """What stands at the top of the Python file."""
    summary, found = subject.summary, subject.summary.saved
    metric, score = summary.metric, found.score
    mean, low, high = (score_text(value, metric) for value in (score.mean, score.low, score.high))
    first = score_text(found.scores[0], metric)
    return "\n".join(
        [
            f"Reads {' and '.join(subject.run.architecture.modalities())}.",
            "",
            f"Found by fusenas on {summary.data.name}:",
            *(f"    {step}" for step in subject.run.architecture.in_lines()),
            *(["Every modality's network was trained alone; their answers are added."] if found.separate else []),
            f"On the test split ({metric_words(metric)}): {mean} [{low}, {high}], mean and 95 % interval",
            f"over trainings from {len(summary.seeds)} seeds; the weights beside this file reach {first}.",
            "",
            "For prediction: what only training needs, such as dropout, is left out.",
        ]
    )


def _torch(subject: Subject, folder: Path) -> float:
    network, inputs = subject.program
    file = folder / f"{subject.stem}.pt2"
    write_program(network, inputs, subject.about, file)
    return verify("torch", file, network, inputs)[0]


def _onnx(subject: Subject, folder: Path) -> float:
    network, inputs = subject.program
    file = folder / f"{subject.stem}.onnx"
    write_onnx(network, inputs, subject.about, file)
    return verify("onnx", file, network, inputs)[0]


FORMATS: Mapping[str, Format] = {
    "json": Format(words="architecture, data, scores, provenance", write=_json),
    "safetensors": Format(words="weights that fusenas loads again", write=_safetensors, holds_network=True),
    "python": Format(
        words="one file of ordinary PyTorch code, and its weights",
        write=_python,
        packages=("ruff",),
        holds_network=True,
    ),
    "torch": Format(words="a torch.export archive (.pt2)", write=_torch, holds_network=True, is_program=True),
    "onnx": Format(
        words="ONNX",
        write=_onnx,
        packages=("onnx", "onnxscript", "onnxruntime"),
        holds_network=True,
        is_program=True,
    ),
    "graph": Format(words="GraphML, DOT and SVG", write=_graph),
    "card": Format(words="model card in Markdown", write=_card),
}
