"""Data: named modalities, a target and three splits, from arrays, files or an embedded set."""

from __future__ import annotations

from nas.data.fusion_data import FusionData, Modality
from nas.data.loading import EMBEDDED, load_data

__all__ = ["EMBEDDED", "FusionData", "Modality", "load_data"]
