"""Tasks of known answer: what was said of them can be read off them, by linear models and nothing more."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from nas.data.fusion_data import FusionData
from nas.data.synthetic import (
    CROSSED,
    Answer,
    KnownTask,
    TargetKind,
    TaskKind,
    _alignment,
    crossed_tasks,
    known_answer,
    known_tasks,
)
from nas.errors import UserError

CHANCE = 0.25


def features(data: FusionData, modality: str, depth: int) -> NDArray[Any]:
    """A tap, averaged over time."""
    averaged: NDArray[Any] = data.modalities[modality].arrays[depth].mean(axis=1)
    return averaged


def read(data: FusionData, inputs: NDArray[Any]) -> float:
    """Accuracy on the test split of a linear model of these inputs, fitted on the weights split."""
    weights, test = data.splits["weights"], data.splits["test"]
    scaler = StandardScaler().fit(inputs[weights])
    model = LogisticRegression(C=0.1, max_iter=300).fit(scaler.transform(inputs[weights]), data.targets[weights])
    return float(model.score(scaler.transform(inputs[test]), data.targets[test]))


def one(data: FusionData, depth: int, modality: str = "m0") -> float:
    return read(data, features(data, modality, depth))


def both(data: FusionData, depth: int) -> float:
    return read(data, np.hstack([features(data, name, depth) for name in ("m0", "m1")]))


def products(data: FusionData, depth: int) -> float:
    """With every product of a feature of one modality and a feature of the other."""
    first, second = (features(data, name, depth) for name in ("m0", "m1"))
    outer = (first[:, :, None] * second[:, None]).reshape(len(first), -1)
    return read(data, np.hstack([first, second, outer]))


@pytest.mark.parametrize("depth", [0, 2])
def test_one_modality_suffices_where_it_is_said_to(depth: int) -> None:
    unimodal, redundant = known_answer("unimodal", depth), known_answer("redundant", depth)
    assert one(unimodal, depth) > 0.85
    assert one(unimodal, depth, "m1") < CHANCE + 0.07
    assert one(redundant, depth) > 0.85
    assert one(redundant, depth, "m1") > 0.85


def test_an_additive_task_needs_both_and_no_product() -> None:
    data = known_answer("additive")
    assert one(data, 1) < 0.6
    assert both(data, 1) > 0.85


@pytest.mark.parametrize("kind", ["multiplicative", "bilinear"])
def test_a_product_can_only_be_read_with_products(kind: TaskKind) -> None:
    data = known_answer(kind)
    assert both(data, 1) < CHANCE + 0.07
    assert products(data, 1) > 0.75


@pytest.mark.parametrize(("kind", "gain"), [("switch", 0.1), ("shift", 0.05)])
def test_the_second_modality_of_a_switch_or_shift_tells_little_unless_it_interacts(kind: TaskKind, gain: float) -> None:
    data = known_answer(kind)
    assert products(data, 1) > both(data, 1) + gain > CHANCE + 0.1


def test_alignment_is_in_which_steps_match() -> None:
    task = KnownTask(kind="alignment", time=5)
    assert products(task.make(), 1) < 0.5  # of averages over time nothing much can be read
    signal, ((depth, (first, second)),) = _alignment(task, np.random.default_rng(0))
    assert depth == 1
    for sample in range(20):
        marked = int(first[sample, :, 5].argmax())
        assert first[sample, :, 5].sum() == 1
        key = first[sample, marked, :5]
        (step,) = np.flatnonzero((second[sample, :, :5] == key).all(axis=1))
        assert signal[sample] == second[sample, step, 5]
    assert len({tuple(row) for row in second[:, :, :5].argmax(axis=2)}) > 100  # of 120 orders of five keys


def test_a_staged_task_has_a_product_at_either_depth() -> None:
    task = KnownTask(kind="staged", depth=0)
    data = task.make()
    assert task.answer().depths == (0, 2)
    assert both(data, 0) < CHANCE + 0.07
    for depth, at_least in ((0, CHANCE + 0.08), (2, CHANCE + 0.08)):
        assert products(data, depth) > at_least
    assert products(data, 1) < CHANCE + 0.07


def test_of_nothing_nothing_can_be_read() -> None:
    data = known_answer("nothing")
    assert all(products(data, depth) < CHANCE + 0.07 for depth in range(3))


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_elsewhere_the_same_numbers_are_there_in_a_form_that_is_hard_to_read(depth: int) -> None:
    data = known_answer("unimodal", depth, noise=0.0)
    for other in range(3):
        if other == depth:
            continue
        assert one(data, other) < CHANCE + 0.07
    # One depth away it is (z ⊙ e, e) up to a rotation: products of two features undo the signs.
    near = depth - 1 if depth else 1
    tap = features(data, "m0", near)
    upper = np.triu_indices(tap.shape[1])
    assert read(data, (tap[:, :, None] * tap[:, None])[:, upper[0], upper[1]]) > 0.8


def test_noise_makes_it_harder() -> None:
    clear, noisy = (both(known_answer("additive", noise=noise), 1) for noise in (0.1, 1.0))
    assert clear > noisy + 0.15


def test_a_sequence_shows_its_numbers_at_every_step_in_noise_of_its_own() -> None:
    data = known_answer("additive", time=6, noise=0.5)
    tap = data.modalities["m0"].arrays[1]
    assert tap.shape == (6400, 6, 12)
    residual = tap - tap.mean(axis=1, keepdims=True)
    # Of noise of deviation 0.5 · s, six steps leave 0.5 · s · sqrt(5 / 6) around their mean; s is that of the features.
    easy = known_answer("additive", time=6, noise=0.0).modalities["m0"].arrays[1].std()
    assert float(residual.std()) == pytest.approx(0.5 * easy * (5 / 6) ** 0.5, rel=0.02)


@pytest.mark.parametrize("task", known_tasks(), ids=lambda task: task.name)
def test_every_task_can_be_made_and_balanced(task: KnownTask) -> None:
    data = task.make()
    assert data.name == task.name
    assert np.bincount(data.targets).tolist() == [task.total_samples // 4] * 4
    sizes = [task.samples, task.samples, task.test_samples]
    assert [len(data.splits[split]) for split in ("weights", "architecture", "test")] == sizes
    assert all(len(modality.arrays) == task.depths for modality in data.modalities.values())
    assert all(array.shape[1] == task.time for modality in data.modalities.values() for array in modality.arrays)
    answer = task.answer()
    assert set(answer.modalities) <= set(data.modalities)
    assert (answer.order == 0) == (len(answer.modalities) < 2)


def test_there_are_forty_tasks_four_of_every_kind() -> None:
    tasks = known_tasks()
    assert len({task.name for task in tasks}) == 40
    marked = set(get_args(TaskKind)) - {"parity", "lag", *CROSSED}  # which came later
    assert {kind: sum(task.kind == kind for task in tasks) for kind in marked} == dict.fromkeys(marked, 4)


def test_some_have_more_samples() -> None:
    more = {(task.kind, task.noise): (task.samples, task.test_samples) for task in known_tasks()}
    usual = (1200, 4000)
    assert {key: sizes for key, sizes in more.items() if sizes != usual} == {
        ("alignment", 0.4): (2400, 4000),
        **{("staged", noise): (4800, 4000) for noise in (0.1, 0.2, 0.4)},
        **{("nothing", noise): (1200, 40_000) for noise in (0.1, 0.2, 0.4)},
    }


def test_a_crossed_task_is_read_at_two_depths() -> None:
    task = KnownTask(kind="crossed_additive", depth=0)
    data = task.make()
    assert task.answer() == Answer(order=1, depths=(0, 2), modalities=("m0", "m1"), joins=(("m0@0", "m1@2"),))
    across = np.concatenate([features(data, "m0", 0), features(data, "m1", 2)], axis=1)
    assert read(data, across) > 0.8
    assert max(both(data, depth) for depth in range(3)) < 0.6


@pytest.mark.parametrize(("depth", "far"), [(0, 2), (1, 0), (2, 0)])
def test_a_chain_goes_on_from_a_crossed_product(depth: int, far: int) -> None:
    task = KnownTask(kind="chain", depth=depth)
    assert task.far == far
    assert task.answer().joins == ((f"m0@{depth}", f"m1@{far}"), (f"m0@{far}",))
    parts = [features(task.make(), *tap) for tap in (("m0", depth), ("m1", far), ("m0", far))]
    once = np.einsum("ni,nj->nij", *parts[:2]).reshape(len(parts[0]), -1)
    assert read(task.make(), once) < CHANCE + 0.15  # of one product alone


def test_crossed_tasks_of_another_seed_are_others() -> None:
    tasks, others = crossed_tasks(0), crossed_tasks(10)
    assert {kind: sum(task.kind == kind for task in tasks) for kind in CROSSED} == dict.fromkeys(CROSSED, 4)
    assert not {task.name for task in tasks} & {task.name for task in others}


def test_answers() -> None:
    assert KnownTask(kind="additive", depth=2, modalities=3).answer() == Answer(
        order=1, depths=(2,), modalities=("m0", "m1", "m2")
    )
    assert KnownTask(kind="nothing").answer() == Answer(order=0, depths=(), modalities=())


def test_the_same_task_is_the_same_data_and_another_seed_is_not() -> None:
    assert known_answer("shift", seed=3).fingerprint() == known_answer("shift", seed=3).fingerprint()
    assert known_answer("shift", seed=3).fingerprint() != known_answer("shift", seed=4).fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "aditive"}, "unknown kind of task 'aditive'; did you mean 'additive'"),
        ({"kind": "additive", "depth": 3}, "depth of additive must be from 0 to 2, got 3"),
        ({"kind": "staged", "depth": 2}, "depth of staged must be from 0 to 1, got 2"),
        ({"kind": "additive", "depths": 2}, "three depths or more, got 2"),
        ({"kind": "additive", "modalities": 1}, "two modalities or more, got 1"),
        ({"kind": "alignment", "time": 2}, "time of alignment must be at least 3, got 2"),
        ({"kind": "additive", "noise": float("nan")}, "noise must be 0 or more, got nan"),
        ({"kind": "additive", "test_samples": 0}, "at least 100 samples, got 1200 and 0"),
        ({"kind": "additive", "samples": 20}, "at least 100 samples, got 20 and 4000"),
    ],
)
def test_numbers_that_make_no_task_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        KnownTask(**options)


@pytest.mark.parametrize(
    ("target", "task", "outputs"), [("rare", "classification", 2), ("multilabel", "multilabel", 3)]
)
def test_other_targets_are_made_of_the_same_signal(target: TargetKind, task: str, outputs: int) -> None:
    data = KnownTask(kind="additive", target=target).make()
    assert (data.task, data.num_outputs) == (task, outputs)
    if target == "rare":
        assert data.targets.mean() == pytest.approx(0.05, abs=0.001)
    regression = KnownTask(kind="additive", target="regression").make()
    quartiles = KnownTask(kind="additive").make()
    order = np.argsort(regression.targets[:, 0])
    assert (np.diff(quartiles.targets[order]) >= 0).all()


def test_later_modalities_are_missing_as_often_as_is_said() -> None:
    data = KnownTask(kind="additive", missing=0.3).make()
    assert data.modalities["m0"].present is None
    present = data.modalities["m1"].present
    assert present is not None
    assert present.mean() == pytest.approx(0.7, abs=0.02)
    with pytest.raises(UserError, match="missing must be from 0 to below 1, got 1"):
        KnownTask(kind="additive", missing=1.0)


def test_a_parity_tells_nothing_by_one_modality_and_all_by_their_products() -> None:
    data = KnownTask(kind="parity", target="sign").make()
    assert one(data, 1) < 0.55
    assert products(data, 1) > 0.8


def test_a_lag_is_read_by_products_of_neighbouring_steps_alone() -> None:
    data = KnownTask(kind="lag", time=4, target="sign").make()
    first, second = (data.modalities[name].arrays[1] for name in ("m0", "m1"))

    def read_products(pairs: list[tuple[int, int]]) -> float:
        parts = [(first[:, a, :, None] * second[:, b, None]).reshape(len(first), -1) for a, b in pairs]
        return read(data, np.hstack(parts))

    assert read_products([(step, step) for step in range(4)]) < 0.56
    assert read_products([(step, step + 1) for step in range(3)]) > 0.7
