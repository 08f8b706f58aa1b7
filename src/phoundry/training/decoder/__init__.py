"""The decoder that is trained: one forward pass for six families of models."""
