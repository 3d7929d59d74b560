"""What can be searched: spaces and the candidate operations they offer."""

from __future__ import annotations

from collections.abc import Mapping

from nas.space.search_space import SpaceBuilder
from search_spaces.bm_nas import bm_nas
from search_spaces.dynmm import dynmm_modality
from search_spaces.dynmm_fusion import dynmm_fusion
from search_spaces.experts import experts
from search_spaces.graph import graph
from search_spaces.layerwise import layerwise
from search_spaces.mfas import mfas
from search_spaces.mufasa import mufasa
from search_spaces.operations import DEFAULT_OPERATIONS, OPERATIONS

SPACES: Mapping[str, SpaceBuilder] = {
    "layerwise": layerwise,
    "graph": graph,
    "experts": experts,
    "mfas": mfas,
    "bm_nas": bm_nas,
    "dynmm_modality": dynmm_modality,
    "dynmm_fusion": dynmm_fusion,
    "mufasa": mufasa,
}

__all__ = [
    "DEFAULT_OPERATIONS",
    "OPERATIONS",
    "SPACES",
    "bm_nas",
    "dynmm_fusion",
    "dynmm_modality",
    "experts",
    "graph",
    "layerwise",
    "mfas",
    "mufasa",
]
