"""Models: base models of the catalog and registered versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from phoundry.specs.base import Spec, View
from phoundry.specs.names import AssetName

ModelStatus = Literal["Registering", "Ready", "Failed"]


class ModelSpec(Spec):
    """`phoundry model register`."""

    name: AssetName
    job: str = Field(description="The completed job whose output is registered")
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])


class Model(View):
    name: str
    version: str
    type: str = "mlflow_model"
    status: ModelStatus
    job: str | None = None
    base_model: str | None = None
    uri: str | None = Field(default=None, description="models:/NAME/VERSION")
    sha256: str | None = Field(default=None, description="Of the merged weights")
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    error: dict[str, Any] | None = None
    created_at: datetime
    updated_at: datetime | None = None


class CatalogModel(View):
    """A base model that can be named."""

    name: str
    parameters: int = Field(description="Number of weights")
    context_length: int
    licence: str
    source: str = Field(description="package:…, hub:… or folder")
    description: str = ""
