"""Small networks of two and three modalities for the tests of objectives."""

from __future__ import annotations

import numpy as np

from nas.config import TrainingConfig
from nas.data.batches import Batch, split_batch
from nas.data.fusion_data import FusionData
from nas.network.fusion_network import FusionNetwork
from nas.seeding import seeded
from nas.space.architecture import Architecture, Choice
from nas.training.build import build_network
from search_spaces import layerwise
from tests.helpers import CPU
from tests.tiny_runs import Arrays, as_data, tiny_arrays

DATA = as_data(tiny_arrays())

CONFIG = TrainingConfig(epochs=4, channels=8, batch_size=24)

_SPACE = layerwise({"sound": 3, "sight": 3})
_LAST = ("sound@2", "sight@2")
_NODES = {
    "late": (None, None, Choice("additive", _LAST)),
    "product": (None, None, Choice("multiplicative", _LAST)),
    "both": (Choice("additive", ("sound@0", "sight@0")), None, Choice("multiplicative", _LAST)),
    "gate": (None, None, Choice("hard_gate", _LAST)),
    "sight": (None, None, Choice("carry", ("sight@2",))),
}


def network_of(name: str, *, dropout_rate: float = 0.2) -> FusionNetwork:
    """A derived network of the tiny data: `late`, `product`, `both` at two depths, a `gate`, or `sight` alone."""
    choices = tuple((f"fusion{i}", choice or Choice("none")) for i, choice in enumerate(_NODES[name]))
    config = TrainingConfig(channels=CONFIG.channels, dropout_rate=dropout_rate)
    with seeded(0):
        return build_network(_SPACE.only(Architecture.chain("layerwise", choices)), DATA, config)


def batch_of(count: int = 6) -> Batch:
    """The first samples of the weights split."""
    return split_batch(DATA, "weights", CPU).take(slice(0, count))


def token_arrays() -> Arrays:
    """Up to six words and a vector that both tell three classes; the ids of words have gaps, and some texts are cut."""
    arrays = tiny_arrays()
    generator = np.random.default_rng(0)
    count = len(arrays["label"])
    words = 10 * (1 + arrays["label"][:, None] + 3 * generator.integers(0, 3, size=(count, 6)))
    lengths = generator.integers(2, 7, size=(count, 1))
    return {**arrays, "words": np.where(np.arange(6) < lengths, words, 0)}


def token_data() -> FusionData:
    """Words and sight of `token_arrays`; nine words in all."""
    arrays = token_arrays()
    del arrays["sound"]
    return as_data(arrays, kinds={"words": "tokens"})


def token_network(operation: str = "multiplicative") -> FusionNetwork:
    """A derived network of `token_data` that fuses the deepest taps."""
    last = Choice(operation, ("words@2", "sight@2"))
    choices = (("fusion0", Choice("none")), ("fusion1", Choice("none")), ("fusion2", last))
    space = layerwise({"words": 3, "sight": 3})
    with seeded(0):
        return build_network(space.only(Architecture.chain("layerwise", choices)), token_data(), CONFIG)
