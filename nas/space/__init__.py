"""What can be built: operations, architectures, and the spaces that hold them."""
