"""What holds for every test: one thread, and examples that are the same on every machine."""

from __future__ import annotations

import torch
from hypothesis import settings


def pytest_configure() -> None:
    """Before any test is collected."""
    # On tensors this small a second thread costs more than it gives, and on a busy machine ten times as much.
    torch.set_num_threads(1)
    # A deadline would measure how busy the machine is; derandomized, a failure is there on the next run too.
    settings.register_profile("fusenas", deadline=None, derandomize=True, max_examples=50)
    settings.load_profile("fusenas")
