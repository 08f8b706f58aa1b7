"""Environments of flows that need packages which this Python does not have."""
