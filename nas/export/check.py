"""Runs one exported network in a process of its own; unless it is ours to load, where this package is hidden.

    check.py FORMAT FILE SAMPLES OUTPUTS          (started by `nas.isolation`)

FORMAT is safetensors, python, torch or onnx. SAMPLES is a safetensors file of the network's inputs, whose metadata tell
their order; OUTPUTS is one of what the network makes of them, of the first ones each by itself, then of all the others.
Of a Python file, `main` is run as well, and the shapes of what its statements compute are printed as JSON: last line of
the statement to shape.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from importlib.machinery import ModuleSpec
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

Network = Callable[..., Tensor]

HIDDEN = ("nas", "search_spaces", "cli")


class _Hide:
    """Finds none of our own modules, so that importing one fails."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"{name} is hidden from what was exported")
        return None


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    kind, file, samples, outputs = arguments
    if kind != "safetensors":
        sys.meta_path.insert(0, _Hide)
    with safe_open(samples, framework="pt") as given:
        inputs = [given.get_tensor(name) for name in json.loads(given.metadata()["names"])]
        masked = json.loads(given.metadata()["masked"])
        alone = int(given.metadata()["alone"])
        named = json.loads(given.metadata()["encoders"])
    network = {
        "safetensors": lambda path: _safetensors(path, masked, named),
        "python": _python,
        "torch": _torch,
        "onnx": _onnx,
    }[kind](Path(file))
    shapes = _Shapes(Path(file)) if kind == "python" else None
    with torch.no_grad():
        sys.settrace(shapes)
        found = [network(*(tensor[at : at + 1] for tensor in inputs)) for at in range(alone)]
        sys.settrace(None)
        if len(inputs[0]) > alone:
            found.append(network(*(tensor[alone:] for tensor in inputs)))
    save_file({"outputs": torch.cat(found).contiguous()}, outputs)
    sys.stdout.write(json.dumps(shapes.fixed() if shapes else {}))


def _safetensors(file: Path, masked: Sequence[str], named: Mapping[str, str]) -> Network:
    from nas.export.portable import Portable  # noqa: PLC0415  # hidden from all others
    from nas.runs.folder import RunFolder  # noqa: PLC0415
    from nas.saved.weights import load_weights  # noqa: PLC0415

    return Portable(load_weights(RunFolder(file.parent), file.name, named).network, masked)


def imported(file: Path) -> Any:
    """An exported Python file as a module."""
    spec = importlib.util.spec_from_file_location("network", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _python(file: Path) -> Network:
    module = imported(file)
    with redirect_stdout(StringIO()):
        module.main()
    network: Network = module.load(file.with_suffix(".safetensors"))
    return network


def _torch(file: Path) -> Network:
    network: Network = torch.export.load(file).module()
    return network


def _onnx(file: Path) -> Network:
    import onnxruntime  # noqa: PLC0415  # only there with the extra `onnx`

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [argument.name for argument in session.get_inputs()]

    def network(*inputs: Tensor) -> Tensor:
        (outputs,) = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
        return torch.from_numpy(outputs)

    return network


class _Shapes:
    """Traces the functions of a file and notes the shape of what each statement assigns or returns.

    Attributes:
        found: Last line of a statement to the shape, with "batch" for a first axis of one.
        varying: Lines of which there is more than one, as in a class that is used twice.
    """

    def __init__(self, file: Path) -> None:
        self.file = str(file)
        self.found: dict[int, str] = {}
        self.varying: set[int] = set()
        self.assigned: dict[int, tuple[str, int]] = {}
        self.returned: dict[int, int] = {}
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                for line in range(node.lineno, node.end_lineno + 1):  # type: ignore[operator]
                    self.assigned[line] = node.targets[0].id, node.end_lineno or 0
            if isinstance(node, ast.Return):
                for line in range(node.lineno, node.end_lineno + 1):  # type: ignore[operator]
                    self.returned[line] = node.end_lineno or 0

    def __call__(self, frame: FrameType, _event: str, _argument: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename != self.file:
            return None
        pending: tuple[str, int] | None = None

        def follow(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
            nonlocal pending
            now = self.assigned.get(frame.f_lineno)
            if pending and pending != now:
                self._note(pending[1], frame.f_locals.get(pending[0]))
            pending = now
            if event == "return" and frame.f_lineno in self.returned:
                self._note(self.returned[frame.f_lineno], argument)
            return follow

        return follow

    def fixed(self) -> dict[int, str]:
        """Those of `found` that are always the same."""
        return {line: shape for line, shape in self.found.items() if line not in self.varying}

    def _note(self, line: int, value: object) -> None:
        if isinstance(value, Tensor):
            # One sample at a time is traced, so that only what has no batch can begin with more.
            shape = "(" + ", ".join(
                "batch" if not axis and size == 1 else str(size) for axis, size in enumerate(value.shape)
            )
            shape += ",)" if value.dim() == 1 else ")"
            if self.found.setdefault(line, shape) != shape:
                self.varying.add(line)


if __name__ == "__main__":
    main(sys.argv[1:])
