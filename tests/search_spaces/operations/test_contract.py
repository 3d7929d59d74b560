"""Every registered operation keeps the contract of `tests.contracts`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nas.space.operation import Operation
from search_spaces.operations import OPERATIONS
from tests.contracts import OPERATION_CHECKS, input_counts

CASES = [(name, count) for name, operation in OPERATIONS.items() for count in input_counts(operation)]


@pytest.mark.parametrize("check", OPERATION_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "num_inputs"), CASES)
def test_operation_keeps_the_contract(
    name: str, num_inputs: int, check: Callable[[type[Operation], int], None]
) -> None:
    check(OPERATIONS[name], num_inputs)
