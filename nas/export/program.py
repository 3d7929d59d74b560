"""The network as a program for other runtimes: a `torch.export` archive, and ONNX."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from nas.export.cascaded import Cascaded, CascadedDense
from nas.export.gated import Dense, Routed
from nas.export.portable import Portable
from nas.routing.cascade import Cascade
from nas.routing.network import RoutedNetwork

_Program = TypeVar("_Program")

Gates = Literal["none", "routed", "dense"]
"""How a program runs a dynamic network: every sample's own route alone, or all routes on all samples."""


def write_program(portable: Portable, inputs: Sequence[Tensor], about: Mapping[str, Any], file: Path) -> None:
    """Writes a `torch.export` archive (.pt2) that takes batches of any size.

    Args:
        portable: In evaluation mode, on the CPU.
        inputs: Samples for it; their shapes and types alone are read.
        about: Goes into the archive as JSON, under the extra file `fusenas.json`, with how gates run as `gates`.
        file: To write to.
    """
    gates, program = _best(portable, inputs, lambda network: _traced(network, inputs))
    content = BytesIO()  # torch would tell a full disk in words of its own
    torch.export.save(program, content, extra_files={"fusenas.json": json.dumps({**about, "gates": gates})})
    file.write_bytes(content.getvalue())


def write_onnx(portable: Portable, inputs: Sequence[Tensor], about: Mapping[str, Any], file: Path) -> None:
    """Writes an ONNX model that takes its inputs by name and batches of any size, and returns `outputs`.

    Args:
        portable: In evaluation mode, on the CPU.
        inputs: Samples for it; their shapes and types alone are read.
        about: Goes into the model's metadata as JSON, under `fusenas`, with how gates run as `gates`.
        file: To write to.
    """

    def translated(network: nn.Module) -> torch.onnx.ONNXProgram:
        program, names = _traced(network, inputs), portable.names
        with _quiet():
            found = torch.onnx.export(program, dynamo=True, input_names=names, output_names=["outputs"], verbose=False)
        assert found is not None
        return found

    gates, found = _best(portable, inputs, translated)
    found.model.metadata_props["fusenas"] = json.dumps({**about, "gates": gates})
    found.save(file, external_data=False)


def _best(
    portable: Portable, inputs: Sequence[Tensor], make: Callable[[nn.Module], _Program]
) -> tuple[Gates, _Program]:
    """A program that routes, if there are routes and this torch can trace them."""
    if not isinstance(portable.network, RoutedNetwork):
        return "none", make(portable)
    is_cascade = isinstance(portable.network.router, Cascade)
    try:
        return "routed", make(Cascaded(portable, inputs) if is_cascade else Routed(portable))
    except RuntimeError:  # what all errors of tracer and translator are; that both fail is another matter
        return "dense", make(CascadedDense(portable) if is_cascade else Dense(portable))


def _traced(network: nn.Module, inputs: Sequence[Tensor]) -> torch.export.ExportedProgram:
    # The archive keeps the example that it was traced with: nobody's samples, and two, for one would fix the batch.
    blanks = tuple(tensor.new_zeros(2, *tensor.shape[1:]) for tensor in inputs)
    batch = torch.export.Dim("batch")
    with torch.no_grad(), _quiet():
        return torch.export.export(network, blanks, dynamic_shapes=(tuple({0: batch} for _ in blanks),))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps from people what torch and onnxscript say of their exporter; what it makes is compared afterwards."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
