"""Jobs: long work in a process of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from pydantic import AliasChoices, BeforeValidator, Field

from phoundry.errors import Fault
from phoundry.specs.base import Event, Preparation, Spec, View
from phoundry.specs.finetune import written_faults
from phoundry.specs.names import AssetName

# Azure ML's words.
JobStatus = Literal[
    "Queued",
    "Preparing",
    "Running",
    "PauseRequested",
    "Paused",
    "CancelRequested",
    "Completed",
    "Failed",
    "Canceled",
]
FINISHED: frozenset[str] = frozenset({"Completed", "Failed", "Canceled"})
# Nothing more happens to such a job unless somebody asks for it.
RESTING: frozenset[str] = FINISHED | {"Paused"}


def _path_of(value: Any) -> Any:
    """The path of Azure's `{type: uri_file, path: azureml:faq:1}`; anything else as it is."""
    if not isinstance(value, dict):
        return value
    entry = cast(dict[str, Any], value)
    return entry["path"] if "path" in entry and entry.keys() <= {"path", "type", "mode"} else entry


class PathInput(Spec):
    """Azure's `{type: custom_model, path: NAME}`."""

    path: str
    type: str | None = None
    mode: str | None = None


# A name, or Azure's mapping with the name as its `path`.
Input = Annotated[str, BeforeValidator(_path_of, json_schema_input_type=str | PathInput)]


class FineTuningJobSpec(Spec):
    """`type: finetuning`, Azure ML's job YAML v2 for `task: chat_completion`."""

    schema_: str | None = Field(default=None, alias="$schema")
    type: Literal["finetuning"] = "finetuning"
    task: Literal["chat_completion"] = "chat_completion"
    model_provider: Literal["custom"] = "custom"
    name: AssetName | None = None
    display_name: str = ""
    experiment_name: str = "phoundry"
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    model: Input = Field(description="Catalog name, registered model, folder or hub id")
    training_data: Input = Field(description="Data asset NAME or NAME:VERSION")
    validation_data: Input | None = None
    hyperparameters: dict[str, Any] = Field(
        default_factory=dict[str, Any],
        validation_alias=AliasChoices("hyperparameters", "parameters"),
    )
    outputs: dict[str, Any] = Field(default_factory=dict[str, Any])
    # Recorded, and run on this machine with a notice.
    compute: str | None = None
    resources: dict[str, Any] = Field(default_factory=dict[str, Any])
    properties: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="Recorded; Azure's files have them beside tags"
    )

    @classmethod
    def more_faults(cls, name: str, document: Any) -> list[Fault]:
        """Unknown, bad and contradictory hyperparameters, under either name of their key."""
        section = "hyperparameters" if "hyperparameters" in document else "parameters"
        return written_faults(name, document, section)


class Progress(View):
    """Where a running job is. Losses are means over supervised tokens, in nats."""

    step: int = 0
    max_steps: int = 0
    unit: Literal["step", "line"] = Field(default="step", description="A batch goes by lines")
    epoch: float = 0.0
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    tokens: int = Field(
        default=0, description="Tokens trained on, or read and answered, so far; with prompts"
    )
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    mfu: float | None = Field(
        default=None, description="Share of the machine's best matrix product rate that is used"
    )
    eval_token_accuracy: float | None = Field(
        default=None, description="Share of supervised validation tokens that are the likeliest"
    )
    best_step: int | None = Field(default=None, description="Step of the best evaluation so far")
    best_metric: float | None = None
    failed: int | None = Field(default=None, description="Of a batch: lines that have an error")


class MetricPoint(View):
    """One entry of a job's curves."""

    step: int
    epoch: float = 0.0
    time: float = Field(default=0.0, description="Seconds since the epoch")
    loss: float | None = None
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    mfu: float | None = None
    eval_loss: float | None = None
    eval_token_accuracy: float | None = None
    eval_f1: float | None = None
    eval_exact: float | None = None


class SampleGeneration(View):
    """What the model answered at an evaluation."""

    step: int
    prompt: str
    reference: str
    answer: str


class Choice(View):
    """Something that was measured before the start, and what was chosen."""

    name: str = Field(description="precision, row_tokens or gradient_checkpointing")
    value: str
    why: str = ""
    measured: dict[str, float] = Field(
        default_factory=dict[str, float], description="Tokens a second of each candidate"
    )


class JobCheckpoint(View):
    """A state that a job can go on from."""

    step: int
    best: bool = Field(default=False, description="Of the best evaluation so far")
    bytes: int = 0
    time: datetime
    path: str = ""


class JobPlan(View):
    """What a fine-tune will take, before it is started. Bytes and seconds; tokens with prompts."""

    model: str = ""
    training_data: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])
    sources: dict[str, str] = Field(default_factory=dict[str, str])
    conversations: int = 0
    truncated: int = 0
    dropped: int = 0
    tokens_per_epoch: int = 0
    supervised_tokens_per_epoch: int = 0
    epochs: float = 0.0
    steps: int = 0
    tokens: int = Field(default=0, description="Of the whole run")
    choices: list[Choice] = Field(default_factory=list[Choice])
    tokens_per_second: float | None = None
    mfu: float | None = None
    seconds: float | None = Field(default=None, description="Training, evaluations, checkpoints")
    memory_bytes: int | None = None
    available_bytes: int | None = None
    disk_bytes: int | None = Field(default=None, description="Checkpoints and output")
    free_disk_bytes: int | None = None
    fits: bool = True
    would_fit: list[str] = Field(
        default_factory=list[str], description="If it does not fit: settings that would"
    )
    notices: list[str] = Field(default_factory=list[str])


class Planning(View):
    """A plan that is being made: `plan` is there once it is."""

    name: str = Field(description="To ask for it again; a job of its own is not made")
    plan: JobPlan | None = None
    preparation: Preparation | None = Field(
        default=None, description="How far the base model, or the measuring, has come"
    )


class Job(View):
    name: str
    type: str = "finetuning"
    status: JobStatus
    display_name: str = ""
    model: str
    training_data: str = Field(default="", description="Of a fine-tune")
    validation_data: str | None = None
    input: str = Field(default="", description="Of a batch: the file or data asset that is asked")
    endpoint: str | None = Field(default=None, description="Of a batch: where its model is from")
    output: str | None = Field(default=None, description="The folder of what it has made")
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])
    sources: dict[str, str] = Field(default_factory=dict[str, str])
    preparation: Preparation | None = Field(
        default=None, description="While it is Preparing: how far its base model has come"
    )
    progress: Progress = Field(default_factory=Progress)
    choices: list[Choice] = Field(
        default_factory=list[Choice], description="What was measured before the first step"
    )
    metrics: dict[str, float] = Field(default_factory=dict[str, float])
    error: dict[str, Any] | None = None
    notices: list[str] = Field(default_factory=list[str])
    run_dir: str = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    events: list[Event] = Field(default_factory=list[Event])


class JobFile(View):
    """A file that a job has made."""

    path: str = Field(description="Seen from the job's output folder")
    bytes: int


class LogChunk(View):
    """A part of a log. Ask again from `offset`; `finished` when nothing more will come."""

    text: str
    offset: int
    finished: bool
