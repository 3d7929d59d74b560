"""Every architecture of a small space trained from scratch, the best one kept.

It is the answer that other searches are judged by where a table of all trainings can be had.
A space of more architectures than may be trained is refused, since a part of it in order is no sample of it. The test
split is not read.
"""

from __future__ import annotations

from collections.abc import Iterator

from nas.config import SearchConfig
from nas.errors import UserError
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.strategies.ask_tell import ask_tell
from nas.strategies.base import SearchProblem, StrategyResult

LARGEST_SPACE = 1_000
"""Number of architectures beyond which it takes a word of the user's: at some seconds each, an hour or more."""


class InOrder:
    """Hands out architectures one after another.

    Args:
        architectures: In the order in which they are tried.
    """

    def __init__(self, architectures: Iterator[Architecture]) -> None:
        self.architectures = architectures

    def ask(self) -> Architecture | None:
        """The next one."""
        return next(self.architectures, None)

    def tell(self, architecture: Architecture, loss: float) -> None:
        """Learns nothing."""


def exhaustive(problem: SearchProblem) -> StrategyResult:
    """Searches by trying everything; see `check_size` for errors."""
    check_size(problem.space, problem.search)
    return ask_tell(problem, InOrder(problem.space.enumerate()), trainings=problem.space.size()).explored()


def check_size(space: SearchSpace, config: SearchConfig) -> None:
    """Refuses a space of which only a part could be tried.

    Raises:
        UserError: If it has more architectures than the config allows trainings.
    """
    size, most = space.size(), config.max_trials or LARGEST_SPACE
    if size > most:
        raise UserError(
            f"space {space.name!r} has {size:,} architectures, more than the {most:,} trainings allowed; name fewer "
            "operations, raise max_trials, or take another strategy"
        )
