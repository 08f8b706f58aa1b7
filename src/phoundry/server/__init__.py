"""The control plane: API on loopback, and the loop that brings desired state about."""
