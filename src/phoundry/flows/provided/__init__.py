"""The `promptflow` import names, as far as tools need them while a flow runs.

Flows in the wild say `from promptflow import tool`. Inside `import_names()`, and nowhere else,
these names lead to the modules of this folder, whether or not a `promptflow` package is installed.
A name that is not provided fails with a message that says so and what to use.
"""

from __future__ import annotations

from phoundry.flows.provided.finder import import_names

__all__ = ["import_names"]
