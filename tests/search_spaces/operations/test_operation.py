"""What operations share: taps of unequal length are brought to one time."""

from __future__ import annotations

import pytest
import torch

from nas.errors import UserError
from nas.space.operation import Operation, carries, installed_operations, match_time, match_times
from search_spaces.operations import OPERATIONS


@pytest.mark.parametrize(
    ("values", "time", "expected"),
    [
        ([3.0], 3, [3.0, 3.0, 3.0]),
        ([1.0, 5.0], 2, [1.0, 5.0]),
        # Step i of 4 lies at (i + 1/2) · 2/4 − 1/2 = −1/4, 1/4, 3/4, 5/4 of the old steps; beyond the ends is the end.
        ([0.0, 4.0], 4, [0.0, 1.0, 3.0, 4.0]),
        # Step i of 3 lies at (i + 1/2) · 2/3 − 1/2 = −1/6, 1/2, 7/6.
        ([0.0, 4.0], 3, [0.0, 2.0, 4.0]),
    ],
)
def test_match_time_repeats_one_step_and_interpolates_more(
    values: list[float], time: int, expected: list[float]
) -> None:
    tap = torch.tensor(values, dtype=torch.float64)[None, :, None]
    torch.testing.assert_close(match_time(tap, time)[0, :, 0].tolist(), expected, rtol=0, atol=1e-12)


def test_match_time_keeps_channels_and_samples_apart() -> None:
    tap = torch.tensor([[[0.0, 10.0], [4.0, 10.0]], [[8.0, 0.0], [8.0, 2.0]]])
    expected = [[[0.0, 10.0], [2.0, 10.0], [4.0, 10.0]], [[8.0, 0.0], [8.0, 1.0], [8.0, 2.0]]]
    torch.testing.assert_close(match_time(tap, 3), torch.tensor(expected))


def test_match_times_takes_the_longest() -> None:
    taps = [torch.zeros(2, time, 3) for time in (1, 4, 2)]
    assert [tuple(tap.shape) for tap in match_times(taps)] == [(2, 4, 3)] * 3


def test_every_operation_is_installed_by_name() -> None:
    assert installed_operations() == OPERATIONS
    assert [name for name in OPERATIONS if carries(name)] == ["carry"]
    assert not carries("of a package that is not here")


def test_two_packages_may_not_share_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        """An entry point to a table."""

        def __init__(self, operation: str) -> None:
            self.table = {"mine": OPERATIONS[operation]}

        def load(self) -> dict[str, type[Operation]]:
            return self.table

    monkeypatch.setattr("nas.space.operation.entry_points", lambda group: [Entry("mlp"), Entry("additive")])
    with pytest.raises(UserError, match="two installed packages offer an operation 'mine'"):
        installed_operations.__wrapped__()
