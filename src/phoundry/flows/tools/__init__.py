"""What stands behind a node: a callable of its inputs, one module a kind of node."""
