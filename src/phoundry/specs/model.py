"""Models: registered versions. Base models are in `catalog`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from phoundry.specs.base import Preparation, Spec, View
from phoundry.specs.names import AssetName
from phoundry.specs.quantization import Quantization

ModelStatus = Literal["Registering", "Ready", "Failed"]
ModelFormat = Literal["huggingface", "gguf"]


class ModelSpec(Spec):
    """`phoundry model register`."""

    name: AssetName
    job: str | None = Field(default=None, description="The completed job whose output it is")
    path: str | None = Field(
        default=None,
        description="A model trained elsewhere: absolute path of a Hugging Face folder, a PEFT "
        "adapter's folder or a .gguf file, on the machine of the control plane",
    )
    base: str | None = Field(
        default=None,
        description="Base model of the adapter in `path`; default: the one that it names",
    )
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.job is None) == (self.path is None):
            found = "neither" if self.job is None else "both"
            raise ValueError(f"name a job or a path, one of them; found {found}")
        if self.path is not None and not self.path.startswith("/"):
            raise ValueError(f"the path '{self.path}' must be absolute")
        if self.base is not None and self.path is None:
            raise ValueError("base belongs to a path; a job knows its base model")
        return self


class Model(View):
    kind: Literal["registered"] = "registered"
    name: str
    version: str
    type: str = "mlflow_model"
    status: ModelStatus
    preparation: Preparation | None = Field(
        default=None, description="While it is Registering: what is being done"
    )
    job: str | None = None
    path: str | None = Field(default=None, description="Where it was, if it was trained elsewhere")
    base_model: str | None = None
    uri: str | None = Field(default=None, description="models:/NAME/VERSION")
    sha256: str | None = Field(default=None, description="Of the merged weights")
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    error: dict[str, Any] | None = None
    created_at: datetime
    updated_at: datetime | None = None


class ModelFiles(View):
    """A model's files as an engine takes them: a Hugging Face folder, or one GGUF file."""

    model: str
    format: ModelFormat
    quantization: Quantization | None = None
    path: str | None = Field(
        default=None, description="On the control plane's machine; none while they are being made"
    )
    bytes: int = 0
    preparation: Preparation | None = None
