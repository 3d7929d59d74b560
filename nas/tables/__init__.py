"""Tables as data: columns that are told apart, and preprocessing that is fitted once and kept with the run."""

from __future__ import annotations

from nas.tables.columns import Column
from nas.tables.loading import is_table, load_table, open_table
from nas.tables.recipe import RECIPE_FILE, TableRecipe

__all__ = ["RECIPE_FILE", "Column", "TableRecipe", "is_table", "load_table", "open_table"]
