"""The benchmark of exports: its networks hold every operation, and its page tells the worst."""

from __future__ import annotations

import pytest

from benchmarks.export import DATA, NETWORKS, Latency, RoundTrip, architectures, dynamic, page
from nas.summary import Provenance
from search_spaces import DEFAULT_OPERATIONS, layerwise


@pytest.mark.parametrize("depths", [{"a": 3, "b": 3}, {"a": 3, "b": 3, "c": 3}])
def test_every_operation_is_in_one_of_the_networks(depths: dict[str, int]) -> None:
    space = layerwise(depths)
    found = list(architectures(space))
    assert {step.operation for architecture in found for step in architecture.steps} == {"carry", *DEFAULT_OPERATIONS}
    assert all(architecture.taps() for architecture in found)
    for architecture in found:
        space.validate(architecture)


def test_every_operation_but_one_is_in_one_of_the_dynamic_networks() -> None:
    space = layerwise({"a": 3, "b": 3})
    static = list(architectures(space))
    found = [dynamic(space, static[number % len(static)]) for number in range(len(DATA))]
    held = {step.operation for some in found for route in some.routes() for step in route.steps}
    assert set(DEFAULT_OPERATIONS) - held == {"single_stream"}  # there is one dynamic network a data set
    for architecture in found:
        space.validate(architecture)
        assert len(architecture.routes()) == 3


def test_the_page_has_a_row_per_network_and_the_largest_difference() -> None:
    trips = [
        RoundTrip(data, "mlp, none", name, difference, "abc")
        for data, difference in (("one", 1e-7), ("two", 3e-6))
        for name in NETWORKS
    ]
    latencies = [Latency("one", "static", way, batch, 1.5) for way in ("eager", "onnx") for batch in (1, 256)]
    origin = Provenance(command="x", commit="abc", started_at="then", hardware="this", versions={"torch": "2"})
    text = page(trips, latencies, origin)
    assert NETWORKS == ["safetensors", "python", "torch", "onnx"]
    assert "| one | mlp, none | 1.0e-07 | 1.0e-07 | 1.0e-07 | 1.0e-07 | abc |" in text
    assert "| **largest** | | 3.0e-06 | 3.0e-06 | 3.0e-06 | 3.0e-06 | |" in text
    assert "| one | static | 256 | 1.50 | 1.50 |" in text
    assert "commit abc" in text
