"""What a network puts out, and what it loses: over a batch, and over a whole split in evaluation mode."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.data.batches import Batch, in_order
from nas.graph import FusionNetwork, Selection
from nas.metrics import sample_losses
from nas.routing.execution import every_route, run_routes
from nas.routing.gates import Gate
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
    network: nn.Module, batch: Batch, device: torch.device, selection: Selection | None = None
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


@torch.no_grad()
def predict_routed(network: FusionNetwork, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Runs a dynamic network over a split in evaluation mode.

    Returns:
        Outputs (n, outputs) in float32 and the route of every sample (n,), both on the CPU.
    """
    network.eval()
    outputs, picked = [], []
    for part in in_order(batch, EVALUATION_BATCH, device):
        with autocast(device):
            some, routes = run_routes(network, part.inputs, part.present)
        outputs.append(some.float())
        picked.append(routes)
    return torch.cat(outputs).cpu(), torch.cat(picked).cpu()


def predict_routes(network: FusionNetwork, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Runs every route of a dynamic network over a split in evaluation mode.

    Returns:
        Outputs (routes, n, outputs) and logits of the gate (n, routes), in float32 on the CPU.
    """
    network.eval()
    outputs, logits = [], []
    for part in in_order(batch, EVALUATION_BATCH, device):
        with torch.no_grad(), autocast(device):
            some, gate = every_route(network, part.inputs, part.present)
        outputs.append(some.float().cpu())
        logits.append(gate.float().cpu())
    return torch.cat(outputs, dim=1), torch.cat(logits)


@torch.no_grad()
def predict_gate(network: FusionNetwork, batch: Batch, device: torch.device) -> Tensor:
    """The logits of a gate over a split in evaluation mode, (n, routes), on the device; no route is run for them."""
    gate = network.gate
    assert isinstance(gate, Gate)
    network.eval()
    logits = []
    for part in in_order(batch, EVALUATION_BATCH, device):
        with autocast(device):
            logits.append(gate(network.encode(part.inputs, gate.reads), part.present).float())
    return torch.cat(logits)


def answers(task: Task, network: FusionNetwork, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What a network comes to over a split in evaluation mode, as it decides by itself.

    Returns:
        Outputs (n, outputs); the loss of every sample (n,); and its multiply-adds as a share of the static
        architecture's, (n,), ones for a static network; all on the CPU.
    """
    if network.gate is None:
        outputs, _ = predict(network, batch, device)
        spent = torch.ones(len(batch))
    else:
        outputs, picked = predict_routed(network, batch, device)
        spent = network.gate.shares().cpu()[picked]
    return outputs, sample_losses(task, outputs, batch.targets.cpu(), network.head.scale.cpu()), spent


def evaluation_losses(
    task: Task, network: FusionNetwork, batch: Batch, device: torch.device, selection: Selection | None = None
) -> Tensor:
    """The loss of every sample of a split in evaluation mode, (n,), on the CPU."""
    outputs, targets = predict(network, batch, device, selection)
    return sample_losses(task, outputs, targets, network.head.scale.cpu())
