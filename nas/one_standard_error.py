"""The read-out of the default: the simplest architecture that the data cannot tell apart from the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.architecture import Architecture
from nas.candidates import Candidates
from nas.cost import CostTable
from nas.graph import FusionNetwork
from nas.metrics import constant_losses, constant_outputs, sample_errors, sample_losses
from nas.prediction import predict
from nas.scoring import paired_z, scored_samples, standard_errors
from nas.strategies.base import Explored, Problem


def one_standard_error(
    problem: Problem, network: FusionNetwork, _explored: Explored, candidates: Candidates, cost: CostTable
) -> Architecture:
    """The simplest architecture that the data cannot tell apart from the best.

    After Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3: of what lies within one standard
    error of the best, the simplest. Simple means few active nodes, then a low interaction order, then few multiply-adds
    at the same active nodes. Departures: standard errors are *paired*, sample by sample, and hold what another training
    would change, see `TRAINING_SPREAD`; of what was trained by itself, both loss and error have to say so, see
    `_Table.behind_by_itself`; and the supernet proposes while trainings dispose, for a supernet favours what shares its
    weights widely, and knows little of what it has not trained enough.

    First the simple forms are compared: nothing, and of every order the best with the fewest active nodes. The supernet
    has no say between them, for it has trained some of them too little. Each is trained on by itself from the
    supernet's weights for a small share of a training, and the simplest within one standard error of the best is taken;
    then it and the best of the others, unless that lies more than `CLEARLY` standard errors behind, for a larger share.

    What was taken is compared likewise with the other orders at the very same taps, which need not be those that the
    supernet thought best of their orders.

    Then modalities are left out, one at a time and never the last two: of those forms that do the same with one
    modality less, those that the supernet cannot tell from the best of them are trained on as long, and the best is
    taken if it lies within one standard error.

    Then nodes are added to it, one at a time: the supernet's best with one more, as long as that lies more than `DOUBT`
    standard errors before what was taken, and more than one when it is trained from scratch. To train it on from the
    supernet's weights would not do: these have been regularised by what all paths share, and of that several nodes keep
    more than one. Where a node is added, the best of the other interactions with the same active nodes are trained from
    scratch too, and the simplest of these is taken.

    Of a supernet whose best path lies behind a modality trained alone, or no more than two standard errors before the
    best constant answer, simple forms of every order that leave out no modality are compared, and no node is added.
    """
    table = _Table.of(problem, candidates, cost)
    is_trained = _is_trained(problem, candidates)
    trainings = _Trainings(problem, network, table)
    chosen = _simplest(trainings, _simple_forms(table, is_trained=is_trained))
    chosen = _simplest(trainings, _interactions_of_the_same_taps(table, chosen))
    while is_trained and (less := _with_a_modality_less(table, chosen)):
        behind = table.behind_by_itself([trainings.on(row, TRAIN_ON_SHARES[-1]) for row in [*less, chosen]])[:-1]
        if float(behind.min()) > 1:
            break
        chosen = less[int(behind.argmin())]
    while is_trained and (more := _with_more_nodes(table, chosen)) is not None:
        if not table.gains(chosen, more):
            break
        if float(table.behind_by_itself([trainings.longest(chosen), trainings.from_scratch(more)])[0]) <= 1:
            break
        forms = _interactions_with_the_same_nodes(table, more)
        chosen = forms[_first(table.behind_by_itself([trainings.from_scratch(row) for row in forms]) <= 1)]
    return table.architectures[chosen]


def _simplest(trainings: _Trainings, forms: list[int]) -> int:
    """The simplest of some rows that short trainings cannot tell from the best.

    Args:
        trainings: Of the supernet.
        forms: Rows, simple first.
    """
    for share in TRAIN_ON_SHARES:
        behind = trainings.table.behind_by_itself([trainings.on(row, share) for row in forms])
        number = _first(behind <= 1)
        others = [i for i in range(len(forms)) if i != number and float(behind[i]) <= CLEARLY]
        if not others or share == TRAIN_ON_SHARES[-1]:
            break
        forms = [forms[i] for i in sorted({number, min(others, key=lambda i: float(behind[i]))})]
    return forms[number]


DOUBT = 2.33
"""Standard errors beyond which the supernet's word is enough: one in a hundred differences of nothing is larger."""

TRAIN_ON_SHARES = (0.1, 0.4)
"""Lengths of the trainings that go on from the supernet's weights, as shares of one from scratch."""

CLEARLY = 5.0
"""Standard errors behind which a simple form stays, however long it is trained."""

TRAINING_SPREAD = 0.01
"""How far two trainings of one architecture differ by their seeds, as a share of what was learned.

Standard deviation of the loss over seeds, in units of the loss of the best constant answer minus that of the best
architecture. In the tables of known answers it is 0.2 to 2.6 %, the median 0.7 %.
"""


def _is_trained(problem: Problem, candidates: Candidates) -> bool:
    """Whether the supernet's best path knows more than a constant, and as much as the best modality alone."""
    best = candidates.losses[candidates.best()]
    gained = _constant(problem)[0] - best
    return float(standard_errors(gained)) > 2 and float(best.mean()) <= problem.alone_loss


def _constant(problem: Problem) -> Tensor:
    """Losses and errors of the best constant answer, (2, samples)."""
    task = problem.data.task
    targets = scored_samples(problem.architecture).targets.cpu()
    outputs = constant_outputs(task, targets, problem.weights.targets.cpu())
    losses = constant_losses(task, targets, problem.weights.targets.cpu())
    return torch.stack([losses, sample_errors(task, outputs, targets)])


@dataclass(frozen=True, eq=False)
class _Table:
    """What is known of every candidate, by row."""

    candidates: Candidates
    architectures: list[Architecture]
    orders: NDArray[np.int64]
    is_active: NDArray[np.bool_]
    cost: CostTable
    constant: Tensor

    @classmethod
    def of(cls, problem: Problem, candidates: Candidates, cost: CostTable) -> _Table:
        architectures = [problem.space.at(tuple(row)) for row in candidates.indices.tolist()]
        return cls(
            candidates,
            architectures,
            np.array([problem.space.interaction_order(one) for one in architectures]),
            candidates.is_active(problem.space),
            cost,
            _constant(problem).mean(dim=1),
        )

    @property
    def active(self) -> NDArray[np.int64]:
        """How many nodes of every candidate read something."""
        counts: NDArray[np.int64] = self.is_active.sum(axis=1)
        return counts

    def behind(self, losses: Tensor, *, of_errors: bool = False) -> Tensor:
        """How many standard errors of samples and trainings each row lies behind the best, (rows,).

        Args:
            losses: Of architectures on the scored samples, (rows, samples).
            of_errors: Whether these are errors instead.
        """
        differences = losses - losses[losses.mean(dim=1).argmin()]
        learned = max(0.0, float(self.constant[int(of_errors)] - losses.mean(dim=1).min()))
        variance = differences.var(dim=1) / losses.shape[1] + (TRAINING_SPREAD * learned) ** 2
        return differences.mean(dim=1) / variance.sqrt().clamp(min=1e-12)

    def behind_by_itself(self, trained: Sequence[Tensor]) -> Tensor:
        """How far each of what was trained by itself lies behind the best, in standard errors, (architectures,).

        The geometric mean of that in loss and in error: a better loss that answers no better buys nothing, and a lower
        error that the loss knows nothing of is luck.

        Args:
            trained: Losses and errors of every architecture, (2, samples) each.
        """
        losses, errors = torch.stack(list(trained), dim=1)
        behind = (self.behind(losses) * self.behind(errors, of_errors=True)).sqrt()
        return behind - behind.min()

    def gains(self, row: int, more: int) -> bool:
        """Whether the supernet puts one row clearly before another."""
        return float(self.behind(self.candidates.losses[[row, more]])[0]) > DOUBT

    def cheapest(self, rows: NDArray[np.int64]) -> int:
        """Of some rows, the cheapest that cannot be told apart from their best and has the same active nodes.

        So where to fuse is decided by loss: no depth is simpler than another.
        """
        losses = self.candidates.take(rows).losses
        means = losses.mean(dim=1).tolist()
        costs = [self.cost.total(self.architectures[row]) for row in rows]
        best = rows[min(range(len(rows)), key=lambda i: (means[i], costs[i]))]
        is_near = (_behind(losses) <= 1).numpy() & (self.is_active[rows] == self.is_active[best]).all(axis=1)
        chosen = min(np.flatnonzero(is_near), key=lambda i: (costs[i], means[i]))
        return int(rows[chosen])


def _simple_forms(table: _Table, *, is_trained: bool) -> list[int]:
    """Rows of nothing, if it can be chosen, and of every order the best with the fewest active nodes; simple first."""
    groups = [np.flatnonzero(table.active == 0)]
    for order in np.unique(table.orders):
        rows = np.flatnonzero((table.orders == order) & (table.active > 0))
        groups.append(rows[table.active[rows] == table.active[rows].min(initial=np.iinfo(np.int64).max)])
    if not is_trained:  # which modality to leave out is no question for such a supernet
        groups = [_of_most_modalities(table, rows) if rows.size else rows for rows in groups]
    return [table.cheapest(rows) for rows in groups if rows.size]


def _of_most_modalities(table: _Table, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.array([len(table.architectures[row].modalities()) for row in rows])
    most: NDArray[np.int64] = rows[counts == counts.max()]
    return most


def _with_a_modality_less(table: _Table, chosen: int) -> list[int]:
    """Rows that do the same as what was chosen at the same nodes with one modality less, of at least two.

    The best for every modality that is left out, as far as the supernet cannot tell these apart.
    """
    choices = table.architectures[chosen].choices
    modalities = set(table.architectures[chosen].modalities())
    if len(modalities) <= 2:
        return []
    operations = [choice.operation for _, choice in choices]
    rows_of: dict[frozenset[str], list[int]] = {}
    for row in np.flatnonzero((table.is_active == table.is_active[chosen]).all(axis=1)):
        kept = frozenset(table.architectures[row].modalities())
        same = [choice.operation for _, choice in table.architectures[row].choices] == operations
        if same and kept < modalities and len(kept) == len(modalities) - 1:
            rows_of.setdefault(kept, []).append(int(row))
    best = np.array([table.cheapest(np.array(rows)) for rows in rows_of.values()], dtype=np.int64)
    if not len(best):
        return []
    near = (_behind(table.candidates.take(best).losses) <= DOUBT).numpy()
    return [int(row) for row in best[near]]


def _interactions_of_the_same_taps(table: _Table, row: int) -> list[int]:
    """Rows of every order that read the same taps at the same nodes, the best of each; simple first."""
    inputs = [[choice.inputs for _, choice in one.choices] for one in table.architectures]
    return _of_every_order(table, np.array([i for i, some in enumerate(inputs) if some == inputs[row]]), row)


def _interactions_with_the_same_nodes(table: _Table, row: int) -> list[int]:
    """Rows of a row's own order and of every order above 1, the best with the same active nodes; simple first."""
    alike = np.flatnonzero((table.is_active == table.is_active[row]).all(axis=1))
    return _of_every_order(table, alike[(table.orders[alike] > 1) | (table.orders[alike] == table.orders[row])], row)


def _of_every_order(table: _Table, rows: NDArray[np.int64], row: int) -> list[int]:
    """Of some rows the best of every order, but of a row's own order itself; simple first."""
    orders = table.orders[rows]
    return [row if order == table.orders[row] else table.cheapest(rows[orders == order]) for order in np.unique(orders)]


def _with_more_nodes(table: _Table, chosen: int) -> int | None:
    """Row of the best that does one thing more than what was chosen, of the simplest order that will do."""
    candidates, is_active = table.candidates, table.is_active
    rows = candidates.extending(candidates.indices[chosen], is_active[chosen], is_active)
    if not rows.size:
        return None
    orders, group_of = np.unique(table.orders[rows], return_inverse=True)
    order = orders[_first(_behind(table.candidates.take(rows).held_out_losses(group_of)) <= 1)]
    return table.cheapest(rows[table.orders[rows] == order])


def _behind(losses: Tensor) -> Tensor:
    """How many paired standard errors each row lies behind the best."""
    return paired_z(losses, losses[losses.mean(dim=1).argmin()])


def _first(flags: Tensor) -> int:
    return int(torch.nonzero(flags)[0])


class _Trainings:
    """Losses and errors of candidates that were trained by themselves, (2, samples); each is trained once."""

    def __init__(self, problem: Problem, network: FusionNetwork, table: _Table) -> None:
        self.problem = problem
        self.network = network
        self.table = table
        self._done: dict[tuple[int, float], Tensor] = {}

    def on(self, row: int, share: float) -> Tensor:
        """Trained on from the supernet's weights for a share of a training."""
        if (row, share) not in self._done:
            self._done[row, share] = _trained_on(self.problem, self.network, self.table.architectures[row], share)
        return self._done[row, share]

    def longest(self, row: int) -> Tensor:
        """From scratch if that was done, else trained on for the largest share."""
        return self.from_scratch(row) if (row, 1.0) in self._done else self.on(row, TRAIN_ON_SHARES[-1])

    def from_scratch(self, row: int) -> Tensor:
        """Trained from scratch at full length."""
        if (row, 1.0) not in self._done:
            self._done[row, 1.0] = _from_scratch(self.problem, self.table.architectures[row])
        return self._done[row, 1.0]


def _from_scratch(problem: Problem, architecture: Architecture) -> Tensor:
    """Losses and errors of an architecture that was trained from scratch, (2, samples)."""
    return _judged(problem, problem.train_from_scratch(architecture).network)


def _trained_on(problem: Problem, network: FusionNetwork, architecture: Architecture, share: float) -> Tensor:
    """Likewise of one that was trained on from the supernet's weights; nothing answers with the best constant."""
    if not architecture.taps():
        return _constant(problem)
    return _judged(problem, problem.train_on(network, architecture, share=share).network)


def _judged(problem: Problem, network: FusionNetwork) -> Tensor:
    task = problem.data.task
    outputs, targets = predict(network, scored_samples(problem.architecture), problem.device)
    losses = sample_losses(task, outputs, targets, network.head.scale.cpu())
    return torch.stack([losses, sample_errors(task, outputs, targets)])
