"""Tables as data: columns that are told apart, and preprocessing that is fitted once and kept with the run."""

from __future__ import annotations

from nas.data.tables.columns import Column
from nas.data.tables.loading import is_table, load_table, open_table
from nas.data.tables.recipe import RECIPE_FILE, TableRecipe

__all__ = ["RECIPE_FILE", "Column", "TableRecipe", "is_table", "load_table", "open_table"]
