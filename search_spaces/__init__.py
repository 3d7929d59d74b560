"""What can be searched: spaces and the candidate operations they offer."""

from __future__ import annotations

from collections.abc import Mapping

from nas.space.search_space import SpaceBuilder
from search_spaces.experts import experts
from search_spaces.graph import graph
from search_spaces.layerwise import layerwise
from search_spaces.operations import DEFAULT_OPERATIONS, OPERATIONS

SPACES: Mapping[str, SpaceBuilder] = {"layerwise": layerwise, "graph": graph, "experts": experts}

__all__ = ["DEFAULT_OPERATIONS", "OPERATIONS", "SPACES", "experts", "graph", "layerwise"]
