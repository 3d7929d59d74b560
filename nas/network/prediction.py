"""What a static network puts out, and what it loses: over a batch, and over a whole split in evaluation mode."""

from __future__ import annotations

import torch
from torch import Tensor

from nas.data.batches import Batch, in_order
from nas.metrics import sample_losses
from nas.network.fusion_network import FusionNetwork, Selection
from nas.tasks import Task

EVALUATION_BATCH = 512


def autocast(device: torch.device) -> torch.autocast:
    """bf16 arithmetic on a GPU, plain float32 elsewhere."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def losses(
    task: Task,
    network: FusionNetwork,
    batch: Batch,
    selection: Selection | None = None,
    *,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The loss of every sample of a batch, (batch,); for training it may be smoothed, see `sample_losses`."""
    outputs = network(batch.inputs, batch.present, selection)
    return sample_losses(
        task,
        outputs,
        batch.targets,
        network.head.scale,
        label_smoothing=label_smoothing,
        importance=batch.importance,
    )


@torch.no_grad()
def predict(
    network: FusionNetwork, batch: Batch, device: torch.device, selection: Selection | None = None
) -> tuple[Tensor, Tensor]:
    """Runs a network over a split in evaluation mode.

    Returns:
        Outputs (n, outputs) in float32 and targets, both on the CPU.
    """
    network.eval()
    outputs = []
    for part in in_order(batch, EVALUATION_BATCH, device):
        with autocast(device):
            outputs.append(network(part.inputs, part.present, selection).float())
    return torch.cat(outputs).cpu(), batch.targets.cpu()


def evaluation_losses(
    task: Task, network: FusionNetwork, batch: Batch, device: torch.device, selection: Selection | None = None
) -> Tensor:
    """The loss of every sample of a split in evaluation mode, (n,), on the CPU."""
    outputs, targets = predict(network, batch, device, selection)
    return sample_losses(task, outputs, targets, network.head.scale.cpu())
