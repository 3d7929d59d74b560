"""Every exported network is run in a fresh process before it is handed out, and must agree with its original."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from nas.encoders.imported import import_folder, imported_in
from nas.errors import UserError
from nas.export.portable import Portable
from nas.isolation import run_python
from nas.routing.network import RoutedNetwork

TOLERANCE = 1e-4
"""Largest difference of an output, in units of the largest output or of 1: some hundred roundings of float32."""


def verify(kind: str, file: Path, portable: Portable, inputs: Sequence[Tensor]) -> tuple[float, dict[int, str]]:
    """Runs an exported network on real samples in a process that cannot import this package, unless it needs it.

    Args:
        kind: safetensors, python, torch or onnx.
        file: What was exported; of a Python file, its weights lie beside it.
        portable: What it must agree with.
        inputs: Some samples, in the order of its `names`.

    Returns:
        The largest difference of any output, in units of the largest output or of 1; and of a Python file the shapes
        that `nas.export.check` saw.

    Raises:
        UserError: If it cannot be run, or disagrees by more than `TOLERANCE`.
    """
    with torch.no_grad():
        expected = portable(*inputs)
    named = imported_in(portable.network.encoders)
    with TemporaryDirectory() as folder:
        samples, outputs = Path(folder, "samples"), Path(folder, "outputs")
        routes = len(portable.network.routes) if isinstance(portable.network, RoutedNetwork) else 1
        alone = min(routes, len(inputs[0]))  # a sample of each route
        order = {
            "names": json.dumps(portable.names),
            "masked": json.dumps(list(portable.masks)),
            "alone": str(alone),
            "encoders": json.dumps(named),
        }
        # Copies, for two inputs may share memory, and a tap may be a transposed view.
        copies = [tensor.clone(memory_format=torch.contiguous_format) for tensor in inputs]
        samples.write_bytes(save(dict(zip(portable.names, copies, strict=True)), metadata=order))
        script = Path(__file__).with_name("check.py")
        arguments = [kind, str(file.resolve()), str(samples), str(outputs)]
        code, printed, told = run_python(str(script), arguments, beside=[*map(import_folder, named.values())])
        if code:
            last = (told.strip().splitlines() or [f"exit code {code}"])[-1]
            raise UserError(f"the exported {file.name} does not run by itself ({last[:200]}); nothing was written")
        found = load_file(outputs)["outputs"]
        shapes = {int(line): shape for line, shape in json.loads(printed).items()}
    difference = largest_difference(found, expected)
    if not difference <= TOLERANCE:  # not a number, too, is no agreement
        raise UserError(
            f"the exported {file.name} disagrees with the network by {difference:.2g} of its largest output, more than "
            f"{TOLERANCE:.0e}; nothing was written"
        )
    return difference, shapes


def largest_difference(found: Tensor, expected: Tensor) -> float:
    """Of two sets of outputs, in units of the largest expected output or of 1, whichever is larger."""
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).abs().max() / max(1.0, float(expected.abs().max())))
