"""Every registered space, and spaces made by hand whose nodes read nodes, keep the contract of `tests.contracts`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nas.space.search_space import SearchSpace
from tests.contracts import SPACE_CHECKS
from tests.spaces import EVERY


@pytest.mark.parametrize("check", SPACE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("space", EVERY)
def test_space_keeps_the_contract(space: str, check: Callable[[SearchSpace], None]) -> None:
    check(EVERY[space])
