"""Traces of flows: what a run did, kept on this machine and sent nowhere unless a collector is
named."""
