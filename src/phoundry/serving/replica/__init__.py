"""The replica: one process that renders conversations and serves one model."""
