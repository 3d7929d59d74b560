"""What default encoders are built for, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from nas import encoders
from nas.data.from_arrays import from_arrays
from nas.encoders import DEFAULT_ENCODERS, build_encoders
from nas.errors import UserError


@pytest.mark.parametrize("shape", [(30, 9), (30, 4, 9)])
def test_more_numbers_than_a_first_layer_can_hold_are_refused(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    generator = np.random.default_rng(0)
    data = from_arrays(
        {"wide": generator.normal(size=shape), "narrow": generator.normal(size=(30, 2))}, np.arange(30) % 2
    )
    monkeypatch.setattr(encoders, "MAX_FEATURES", 8)
    with pytest.raises(UserError, match="modality 'wide' has 9 numbers side by side; expected at most 8: choose or"):
        build_encoders(data)
    assert build_encoders(data, {"wide": DEFAULT_ENCODERS[data.modalities["wide"].kind]})["wide"].num_taps
