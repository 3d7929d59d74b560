"""What a network that decides per sample puts out over a split: on the routes that it picks, or on all."""

from __future__ import annotations

import torch
from torch import Tensor

from nas.data.batches import Batch, in_order
from nas.metrics import sample_losses
from nas.network.prediction import EVALUATION_BATCH, autocast, predict
from nas.routing.gates import Gate
from nas.routing.network import DerivedNetwork, RoutedNetwork
from nas.tasks import Task


@torch.no_grad()
def predict_routed(network: RoutedNetwork, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Runs a network that decides per sample over a split in evaluation mode.

    Returns:
        Outputs (n, outputs) in float32 and the route of every sample (n,), both on the CPU.
    """
    network.eval()
    outputs, picked = [], []
    for part in in_order(batch, EVALUATION_BATCH, device):
        with autocast(device):
            some, routes = network.run(part.inputs, part.present)
        outputs.append(some.float())
        picked.append(routes)
    return torch.cat(outputs).cpu(), torch.cat(picked).cpu()


def predict_routes(network: RoutedNetwork, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """Runs every route of a network over a split in evaluation mode.

    Returns:
        Outputs (routes, n, outputs) and logits of the router (n, routes), in float32 on the CPU.
    """
    network.eval()
    outputs, logits = [], []
    for part in in_order(batch, EVALUATION_BATCH, device):
        with torch.no_grad(), autocast(device):
            some, picks = network.every_route(part.inputs, part.present)
        outputs.append(some.float().cpu())
        logits.append(picks.float().cpu())
    return torch.cat(outputs, dim=1), torch.cat(logits)


@torch.no_grad()
def predict_gate(network: RoutedNetwork, batch: Batch, device: torch.device) -> Tensor:
    """The logits of a gate over a split in evaluation mode, (n, routes), on the device; no route is run for them."""
    gate = network.router
    assert isinstance(gate, Gate)
    network.eval()
    logits = []
    for part in in_order(batch, EVALUATION_BATCH, device):
        with autocast(device):
            logits.append(gate(network.network.encode(part.inputs, gate.reads, part.present), part.present).float())
    return torch.cat(logits)


def answers(task: Task, network: DerivedNetwork, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What a network comes to over a split in evaluation mode, as it decides by itself.

    Returns:
        Outputs (n, outputs); the loss of every sample (n,); and its multiply-adds as a share of the static
        architecture's, (n,), ones for a static network; all on the CPU.
    """
    if isinstance(network, RoutedNetwork):
        outputs, picked = predict_routed(network, batch, device)
        spent = network.router.shares().cpu()[picked]
    else:
        outputs, _ = predict(network, batch, device)
        spent = torch.ones(len(batch))
    return outputs, sample_losses(task, outputs, batch.targets.cpu(), network.head.scale.cpu()), spent
