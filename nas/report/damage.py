"""Damage in the files of a run, told in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nas.errors import UserError


@contextmanager
def report_damage(source: str) -> Iterator[None]:
    """What goes wrong in the block is told as the user's.

    Args:
        source: What the block reads.

    Raises:
        UserError: If something that it reads is missing or of another form.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError) as error:
        message = f"{source} lacks or garbles something: {type(error).__name__} {error}"
        raise UserError(" ".join(message.split())) from error
