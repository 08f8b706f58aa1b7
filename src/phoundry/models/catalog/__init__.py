"""Base models that can be named, and what a name stands for.

Nothing here touches the network or imports anything heavy: `resolve` only says where a model is.
`materialize` fetches it, `hub_facts` looks at a model of the hub without fetching its weights.
"""

from __future__ import annotations

from phoundry.models.catalog.entry import CatalogEntry, PackageFile, Template
from phoundry.models.catalog.names import (
    CATALOG,
    ModelSource,
    check_usable,
    find,
    nearest_names,
    obstacle,
    recommended,
    resolve,
    search,
)
from phoundry.models.catalog.sizes import cache_bytes, count_parameters, text_config

__all__ = [
    "CATALOG",
    "CatalogEntry",
    "ModelSource",
    "PackageFile",
    "Template",
    "cache_bytes",
    "check_usable",
    "count_parameters",
    "find",
    "nearest_names",
    "obstacle",
    "recommended",
    "resolve",
    "search",
    "text_config",
]
