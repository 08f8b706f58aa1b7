"""The command line: one noun a file, thin over the client."""

from __future__ import annotations

from phoundry.cli.app import main

__all__ = ["main"]
