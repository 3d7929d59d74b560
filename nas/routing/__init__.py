"""Everything that decides per sample: gates and cascades, their routes, training, execution and explanation."""
