"""Tokens a second of an endpoint, beside the bare engine and transformers' generate."""
