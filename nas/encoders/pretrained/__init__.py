"""Networks of other libraries by name, with the weights that they were trained to."""
