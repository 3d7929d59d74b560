"""The network as a program for other runtimes: a `torch.export` archive, and ONNX."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.export.portable import Portable


def write_program(portable: Portable, inputs: Sequence[Tensor], about: Mapping[str, Any], file: Path) -> None:
    """Writes a `torch.export` archive (.pt2) that takes batches of any size.

    Args:
        portable: In evaluation mode, on the CPU.
        inputs: Samples for it; their shapes and types alone are read.
        about: Goes into the archive as JSON, under the extra file `fusenas.json`.
        file: To write to.
    """
    torch.export.save(_traced(portable, inputs), file, extra_files={"fusenas.json": json.dumps(about)})


def write_onnx(portable: Portable, inputs: Sequence[Tensor], about: Mapping[str, Any], file: Path) -> None:
    """Writes an ONNX model that takes its inputs by name and batches of any size, and returns `outputs`.

    Args:
        portable: In evaluation mode, on the CPU.
        inputs: Samples for it; their shapes and types alone are read.
        about: Goes into the model's metadata as JSON, under `fusenas`.
        file: To write to.
    """
    with _quiet():
        found = torch.onnx.export(
            _traced(portable, inputs), dynamo=True, input_names=portable.names, output_names=["outputs"], verbose=False
        )
    assert found is not None
    found.model.metadata_props["fusenas"] = json.dumps(about)
    found.save(file, external_data=False)


def _traced(portable: Portable, inputs: Sequence[Tensor]) -> torch.export.ExportedProgram:
    # The archive keeps the example that it was traced with: nobody's samples, and two, for one would fix the batch.
    blanks = tuple(tensor.new_zeros(2, *tensor.shape[1:]) for tensor in inputs)
    batch = torch.export.Dim("batch")
    with torch.no_grad(), _quiet():
        return torch.export.export(portable, blanks, dynamic_shapes=(tuple({0: batch} for _ in blanks),))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps from people what torch says about its own exporter; what it makes is compared afterwards."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
