"""Deployments: a model behind an endpoint, served by replica processes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from phoundry.specs.azure_deployment import AzureKeys
from phoundry.specs.base import Event, Preparation, Spec, View
from phoundry.specs.collection import DataCollector
from phoundry.specs.names import EndpointName
from phoundry.specs.probe import Probe
from phoundry.specs.quantization import Quantization, QuantizationField, check_engine
from phoundry.specs.scaling import INSTANCES, ScaleSettings

DeploymentStatus = Literal["Creating", "Succeeded", "Updating", "Failed", "Deleting"]
ReplicaStatus = Literal["waiting", "starting", "ready", "unready", "crashed", "draining", "failed"]
GateStatus = Literal["pending", "passed", "failed", "skipped"]
EngineName = Literal["llama.cpp", "openvino", "transformers", "vllm"]
AUTO = "auto"
EngineChoice = Literal["llama.cpp", "openvino", "transformers", "vllm", "auto"]
Adapter = Literal["merged", "shared"]
StopText = Annotated[str, Field(min_length=1)]


class RequestSettings(Spec):
    """Azure's default of 5,000 ms suits no language model; the limit of 180 s is theirs."""

    request_timeout_ms: int = Field(default=180_000, gt=0)
    max_concurrent_requests_per_instance: int = Field(default=8, gt=0, le=64)
    max_queue_wait_ms: int | None = None


class GenerationDefaults(Spec):
    """What a request that does not say gets. A request's own value always wins."""

    system_prompt: str | None = Field(
        default=None, description="Put first where a conversation has no system message"
    )
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, gt=0, description="Tokens of an answer")
    stop: list[StopText] = Field(
        default_factory=list[str], max_length=4, description="Texts that end an answer"
    )


FLOW = "flow:"  # what the `model` of a deployed flow begins with


class FlowSnapshot(Spec):
    """What a deployment keeps of a flow: its files as they were, and which connections it takes."""

    sha256: str
    file: str
    chosen: dict[str, str] = Field(default_factory=dict[str, str])
    overrides: dict[str, str] = Field(default_factory=dict[str, str])
    names: list[str] = Field(default_factory=list[str])
    init: dict[str, Any] = Field(default_factory=dict[str, Any])


def serves_flow(spec: Mapping[str, Any]) -> bool:
    """Whether a deployment's spec, as it is kept, is of a flow."""
    return bool(spec.get("snapshot"))


class DeploymentKeys(Spec):
    """What has an effect here."""

    schema_: str | None = Field(default=None, alias="$schema")
    name: EndpointName
    endpoint_name: EndpointName
    model: str = Field(description="Registered model (NAME:VERSION), catalog name or folder")
    flow: str | None = Field(default=None, description="Folder of a flow, in place of a model")
    connections: dict[str, str] = Field(
        default_factory=dict[str, str], description="Of the flow: node.input to connection"
    )
    init: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="Of a flex flow: arguments of its class"
    )
    snapshot: FlowSnapshot | None = Field(default=None, description="Kept of the flow; made here")
    engine: EngineChoice = Field(
        default="llama.cpp", description="auto: what was measured fastest when this is said"
    )
    quantization: QuantizationField = None
    adapter: Adapter = Field(
        default="merged",
        description="Of a LoRA fine-tune. merged: a process of its own; shared: one process serves "
        "all fine-tunes of its base that say so and have the same quantization and context",
    )
    context_length: int | None = Field(default=None, gt=0, description="Tokens of one conversation")
    defaults: GenerationDefaults = Field(default_factory=GenerationDefaults)
    request_settings: RequestSettings = Field(default_factory=RequestSettings)
    liveness_probe: Probe = Field(default_factory=Probe)
    readiness_probe: Probe = Field(default_factory=Probe)
    scale_settings: ScaleSettings | None = None
    data_collector: DataCollector | None = None
    gate: bool = Field(
        default=True, description="No live traffic before it answers as the trained model does"
    )
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    instance_count: int = Field(default=1, ge=1, le=INSTANCES, description="Replicas")

    @model_validator(mode="before")
    @classmethod
    def _flow_or_model(cls, data: Any) -> Any:
        """A flow stands in place of a model: as `flow`, or as Azure has it, where the container of
        a model is told to serve one."""
        if not isinstance(data, dict):
            return data
        values: dict[str, Any] = {**data}
        variables: Any = values.get("environment_variables") or {}
        if isinstance(variables, dict) and variables.get("PROMPTFLOW_RUN_MODE") == "serving":  # pyright: ignore[reportUnknownMemberType]
            values["flow"] = values.get("flow") or values.pop("model", None)
        if flow := values.get("flow"):
            named = str(values.get("model") or FLOW)
            if not named.startswith(FLOW):
                raise ValueError("model and flow are both named: leave one of the two out")
            values["model"] = named if named != FLOW else FLOW + PurePath(str(flow)).name
            values["gate"] = False  # there is no model of training to compare it with
        return values

    @model_validator(mode="after")
    def _quantized_by_its_engine(self) -> DeploymentKeys:
        check_engine(self.engine, self.quantization)
        return self

    @model_validator(mode="after")
    def _shared_by_what_can(self) -> DeploymentKeys:
        if self.adapter == "merged":
            return self
        if self.engine not in ("llama.cpp", AUTO):
            raise ValueError(
                f"adapter: shared is for the engine llama.cpp; {self.engine} serves a fine-tune "
                "merged: leave one of the two out"
            )
        scale = self.scale_settings
        most = scale.max_instances if scale and scale.type != "default" else self.instance_count
        if most > 1:
            raise ValueError(
                f"adapter: shared answers in one process, so {most} replicas would be one: say "
                "instance_count 1 (and max_instances 1), or adapter: merged"
            )
        return self


class DeploymentSpec(AzureKeys, DeploymentKeys):
    """Azure ML's deployment, with Phoundry's `engine`, `quantization`, `context_length`, `defaults`
    and `gate`."""

    def notices(self) -> list[str]:
        told = super().notices()
        if self.engine == "vllm":
            told.append(
                "The engine vllm is untried: it was written against vLLM's documented protocol, "
                "and no GPU was at hand to run it."
            )
        return told


class DeploymentUpdate(Spec):
    """What may change while a deployment serves: only what is written here changes.

    Another model, engine, quantisation, adapter or context, and more requests at once than a
    replica was started for, make a new revision: its replicas start beside those that serve, which
    then drain. All else is in force at once.
    """

    model: str | None = None
    flow: str | None = None
    connections: dict[str, str] | None = None
    init: dict[str, Any] | None = None
    engine: EngineChoice | None = None
    quantization: QuantizationField = None
    adapter: Adapter | None = None
    context_length: int | None = Field(default=None, gt=0, description="null: the model's")
    instance_count: int | None = Field(default=None, ge=1, le=INSTANCES)
    defaults: GenerationDefaults | None = Field(
        default=None,
        description="Those that are given replace those in force; null, of stop [], takes one back",
    )
    request_settings: RequestSettings | None = Field(
        default=None, description="Those that are given replace those in force"
    )
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    scale_settings: ScaleSettings | None = Field(default=None, description="null takes them away")
    data_collector: DataCollector | None = Field(default=None, description="null takes it away")
    gate: bool | None = Field(default=None, description="false: what waits for it is let through")
    description: str | None = None
    tags: dict[str, str] | None = None


class ReplicaView(View):
    """One process that serves a deployment."""

    number: int
    revision: int
    state: ReplicaStatus
    pid: int | None = None
    port: int | None = None
    memory_bytes: int | None = None
    shared_pid: int | None = Field(
        default=None, description="Process that answers for several; its memory counts for none"
    )
    restarts: int = 0
    error: dict[str, Any] | None = None


class Deployment(View):
    name: str
    endpoint_name: str
    model: str = Field(description="What it serves; of a flow `flow:NAME@SHA256`")
    flow: str | None = None
    connections: dict[str, str] = Field(default_factory=dict[str, str])
    init: dict[str, Any] = Field(default_factory=dict[str, Any])
    snapshot: FlowSnapshot | None = None
    engine: EngineName | Literal["flow"]
    quantization: Quantization | None = Field(
        default=None, description="Of the GGUF; an engine that serves the checkpoint has none"
    )
    adapter: Adapter = "merged"
    provisioning_state: DeploymentStatus
    revision: int = Field(default=1, description="Grows with each change of its processes")
    gate: GateStatus = "skipped"
    instance_count: int = 1
    ready_replicas: int = 0
    asleep: bool = Field(
        default=False, description="No replica, because nobody asks; the next request wakes it"
    )
    replicas: list[ReplicaView] = Field(default_factory=list[ReplicaView])
    preparation: Preparation | None = Field(
        default=None, description="While no replica is started: how far its model has come"
    )
    traffic: int = 0
    context_length: int | None = None
    defaults: GenerationDefaults = Field(default_factory=GenerationDefaults)
    request_settings: RequestSettings = Field(default_factory=RequestSettings)
    liveness_probe: Probe = Field(default_factory=Probe)
    readiness_probe: Probe = Field(default_factory=Probe)
    scale_settings: ScaleSettings | None = None
    data_collector: DataCollector | None = None
    instance_type: str | None = None
    pid: int | None = Field(default=None, description="Of the first replica that runs")
    port: int | None = None
    memory_bytes: int | None = Field(default=None, description="Of all replicas together")
    restarts: int = 0
    error: dict[str, Any] | None = None
    notices: list[str] = Field(default_factory=list[str])
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    created_at: datetime
    events: list[Event] = Field(default_factory=list[Event])

    @property
    def settled(self) -> bool:
        """Whether it serves, and its gate has said what it has to say (passed, failed, skipped)."""
        return self.provisioning_state == "Succeeded" and self.gate != "pending"
