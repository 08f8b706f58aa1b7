"""Batch scoring: a file of requests in, a file of answers out, in the same order."""
