"""A project: one file that declares the whole way from data to a flow.

name: permit-helper
data: {source: faq-en.jsonl}
model: smollm2-135m-instruct
finetune: {num_train_epochs: 3, learning_rate: 5e-4}
endpoint: {name: permit-helper}
flow: chat
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from phoundry.errors import Fault
from phoundry.specs.base import Spec
from phoundry.specs.data import DataFormat
from phoundry.specs.deployment import EngineName, GenerationDefaults, RequestSettings
from phoundry.specs.finetune import FineTuneParameters, written_faults
from phoundry.specs.job import Input
from phoundry.specs.names import EndpointName
from phoundry.specs.quantization import QuantizationField, check_engine

CHAT = "chat"  # the flow that is made for the user


class DataSource(Spec):
    """Where the conversations come from; beside `source`, what `phoundry data create` takes."""

    source: str | None = Field(
        default=None,
        min_length=1,
        description="A file, a folder, a glob (seen from this file) or a data set of the hub",
    )
    asset: str | None = Field(
        default=None, min_length=1, description="Or an asset that is there: NAME or NAME:VERSION"
    )
    config: str | None = Field(default=None, description="Configuration of a hub data set")
    split: str | None = Field(default=None, description="Such as train_sft[:1%]")
    format: DataFormat | None = Field(default=None, description="Detected unless named")
    mapping: dict[str, str] = Field(
        default_factory=dict[str, str],
        validation_alias=AliasChoices("map", "mapping"),
        serialization_alias="map",
        description="Our name of a part to the column that has it",
    )
    skip_bad: int = Field(default=0, ge=0, description="So many bad rows may be left out")
    test_size: float = Field(default=0.2, ge=0, lt=1, description="Share kept for evaluation")
    seed: int = Field(default=42, description="Of the split")

    @model_validator(mode="after")
    def _one_of_two(self) -> DataSource:
        if (self.source is None) == (self.asset is None):
            raise ValueError("give either `source` or the name of an asset")
        more = sorted(self.model_fields_set - {"source", "asset"})
        if self.asset is not None and more:
            raise ValueError(f"an asset is taken as it is: leave out {', '.join(more)}")
        return self


def _as_asset(value: Any) -> Any:
    """`data: faq:1` names an asset."""
    return {"asset": value} if isinstance(value, str) else value


def _as_name(value: Any) -> Any:
    """`endpoint: faq` names the endpoint."""
    return {"name": value} if isinstance(value, str) else value


class ProjectEndpoint(Spec):
    name: EndpointName | None = Field(default=None, description="The project's name unless given")
    auth_mode: Literal["key"] = "key"
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])


class ProjectDeployment(Spec):
    """How the tuned model is served."""

    defaults: GenerationDefaults = Field(default_factory=GenerationDefaults)
    context_length: int | None = Field(default=None, gt=0, description="Tokens of one conversation")
    engine: EngineName = "llama.cpp"
    quantization: QuantizationField = None
    request_settings: RequestSettings = Field(default_factory=RequestSettings)
    gate: bool = Field(
        default=True, description="No live traffic before it answers as the trained model does"
    )
    base: bool = Field(default=False, description="Serve the untuned model beside, at 0 %")

    @model_validator(mode="after")
    def _quantized_by_its_engine(self) -> ProjectDeployment:
        check_engine(self.engine, self.quantization)
        return self


class Project(Spec):
    """The file of `phoundry apply`. Everything is named after the project."""

    schema_: str | None = Field(default=None, alias="$schema")
    name: EndpointName = Field(description="Names the asset, model, endpoint and connection")
    data: Annotated[DataSource, BeforeValidator(_as_asset, json_schema_input_type=str | DataSource)]
    model: Input = Field(description="Catalog name, registered model, folder, GGUF or hub id")
    finetune: FineTuneParameters = Field(default_factory=FineTuneParameters)
    endpoint: Annotated[
        ProjectEndpoint, BeforeValidator(_as_name, json_schema_input_type=str | ProjectEndpoint)
    ] = Field(default_factory=ProjectEndpoint)
    deployment: ProjectDeployment = Field(default_factory=ProjectDeployment)
    flow: str | None = Field(
        default=None, min_length=1, description="`chat`, made for you, or a flow's folder"
    )

    @classmethod
    def more_faults(cls, name: str, document: Any) -> list[Fault]:
        """Contradictions between training parameters; bad values validating finds itself."""
        return written_faults(name, document, "finetune", values=False)

    @property
    def endpoint_name(self) -> str:
        return self.endpoint.name or self.name

    @property
    def parameters(self) -> dict[str, Any]:
        """The training parameters that the user wrote, as plain numbers and texts."""
        return _plain(self.finetune.model_dump(mode="json", exclude_unset=True))

    def canonical(self) -> dict[str, Any]:
        """The shortest mapping that says the same: equal for equal projects.

        Defaults are left out, but not of the training parameters that were written: a model may
        recommend others, and what the user writes wins.
        """
        options: dict[str, Any] = {"mode": "json", "by_alias": True, "exclude_defaults": True}
        found = self.model_dump(**options, exclude={"finetune", "schema_"})
        if self.endpoint_name == self.name:
            found.get("endpoint", {}).pop("name", None)
        if self.data.asset is not None:
            found["data"] = self.data.asset
        found |= {"finetune": self.parameters}
        return {key: _plain(found[key]) for key in ORDER if found.get(key) not in (None, {})}


ORDER = ("name", "data", "model", "finetune", "endpoint", "deployment", "flow")


def _plain(value: Any) -> Any:
    """`3.0` as `3`, so that what was written as text, float or whole number is the same."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast(dict[str, Any], value).items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
