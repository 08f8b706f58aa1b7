"""The deploy gate: what training keeps for it, and what it found.

`parity.json` lies beside a fine-tune's output, and later in the registered checkpoint: a few
conversations as training saw them. The gate replays them against what is served.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from phoundry.errors import ModelError, PhoundryError, from_dict
from phoundry.specs.base import View

REPLAY_FILE = "parity.json"
CONVERSATIONS = 8
ANSWER_TOKENS = 32  # of an answer, at most
JUDGED_TOKENS = 256  # of a learnt answer: each costs the logits of the whole vocabulary
SHOWN_LINES = 8  # of a diff, in an error

GateState = Literal["pending", "passed", "failed", "skipped"]
Precision = Literal["16", "32"]
DifferenceKind = Literal["prompt", "step", "end", "training"]


class ReplayConversation(BaseModel):
    """A conversation as it was learnt from.

    `messages` and `tools` are what stands before its last learnt answer; the first `prompt_tokens`
    of `token_ids` are their rendering. `loss_mask` has a 1 for each token that was learnt, else a
    0. `greedy_ids` has, for each token of that answer and for the one that ends it (of the first
    `JUDGED_TOKENS`), what the tuned model says there after all before: its likeliest token; and
    `margins`, how far that was before the second likeliest, in logits.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    token_ids: list[int]
    loss_mask: str
    prompt_tokens: int = Field(ge=1)
    greedy_ids: list[int]
    margins: list[float]

    @property
    def prompt_ids(self) -> list[int]:
        return self.token_ids[: self.prompt_tokens]

    @property
    def answer_ids(self) -> list[int]:
        """The answer that was learnt, its end token included, as far as it is judged."""
        return self.token_ids[self.prompt_tokens : self.prompt_tokens + len(self.greedy_ids)]

    @model_validator(mode="after")
    def _whole(self) -> ReplayConversation:
        if len(self.loss_mask) != len(self.token_ids) or set(self.loss_mask) - {"0", "1"}:
            raise ValueError(f"loss_mask is not a 0 or 1 for each of {len(self.token_ids)} tokens")
        if len(self.margins) != len(self.greedy_ids):
            raise ValueError(f"{len(self.margins)} margins for {len(self.greedy_ids)} greedy_ids")
        if self.prompt_tokens + len(self.greedy_ids) > len(self.token_ids):
            told = f"{self.prompt_tokens} of the prompt, {len(self.greedy_ids)} of the answer"
            raise ValueError(f"{told}, and {len(self.token_ids)} tokens in all")
        return self


class Replay(BaseModel):
    """The file. `precision` is training's: 16 (bfloat16) or 32 bits.

    `end_token_ids` end an answer. `day` (ISO) is when it was rendered: some templates write it.
    """

    format: Literal[1] = 1
    precision: Precision
    end_token_ids: list[int]
    day: str
    conversations: list[ReplayConversation]


class ParityError(ModelError):
    """What is served is not what was trained."""

    code = "ParityError"


class ParityDifference(View):
    """Where what is served is not what was trained.

    `behind`: by how many logits the reference puts the token that was found behind its own
    likeliest; `margin`: between its two likeliest; `limit`: how far behind is within rounding.
    """

    kind: DifferenceKind
    conversation: int | None = Field(default=None, description="Number, from 1; null: all")
    asked: str = Field(default="", description="Its last message, cut")
    step: int | None = Field(default=None, description="Token of the answer, from 1")
    message: str
    expected: str = ""
    expected_ids: list[int] = Field(default_factory=list[int])
    found: str = ""
    found_ids: list[int] = Field(default_factory=list[int])
    margin: float | None = None
    behind: float | None = None
    limit: float | None = None

    def lines(self) -> list[str]:
        """The difference as people read it."""
        at = f", token {self.step} of the answer" if self.step else ""
        asked = f" “{self.asked}”" if self.asked else ""
        where = f"conversation {self.conversation}" if self.conversation else "all conversations"
        shown = [f"{where}{asked}{at}: {self.message}"]
        for name, text, ids in (
            ("expected", self.expected, self.expected_ids),
            ("served", self.found, self.found_ids),
        ):
            if ids:
                shown.append(f"  {name:<9} {text}  {ids}")
        if self.behind is not None and self.limit is not None:
            shown.append(
                f"  the reference has it {self.behind:.3f} logits behind (its two likeliest are "
                f"{self.margin or 0:.3f} apart); rounding explains up to {self.limit:.3f}"
            )
        return shown


class ParityReport(View):
    """What the gate found of one deployment's model, engine and quantisation."""

    passed: bool
    engine: str
    quantization: str | None = None
    reference: str = Field(description="`transformers, float32`")
    source: Literal["training", "built-in"] = Field(
        description="Conversations that training kept, or ones that come with Phoundry"
    )
    conversations: int = 0
    steps: int = Field(default=0, description="Tokens that the engine chose greedily")
    agreed: int = Field(default=0, description="Of them, those that the reference chooses too")
    tolerance: float = Field(
        description="Of the spread of the reference's logits: how far behind its likeliest a "
        "token may be"
    )
    furthest: float = Field(default=0.0, description="The most that was needed of it, as a share")
    average: float = Field(
        default=0.0,
        description="How far the engine's tokens are behind on average, as a share of what "
        "rounding explains",
    )
    drift: float | None = Field(
        default=None,
        description="How far the registered model's margins are from the tuned one's, as a share "
        "of what rounding explains (root mean square)",
    )
    differences: list[ParityDifference] = Field(default_factory=list[ParityDifference])
    near_ties: list[ParityDifference] = Field(
        default_factory=list[ParityDifference], description="Within the tolerance"
    )
    notices: list[str] = Field(default_factory=list[str])
    seconds: float = 0.0

    def summary(self) -> str:
        """`8 conversations of its training, 231 of 233 tokens the same, 2 near ties`"""
        whose = "of its training" if self.source == "training" else "that come with Phoundry"
        same = f"{self.agreed} of {self.steps} tokens the same"
        ties = len(self.near_ties)
        near = f", {ties} near tie{'s' if ties != 1 else ''}" if ties else ""
        wrong = len(self.differences)
        bad = f", {wrong} difference{'s' if wrong != 1 else ''}" if wrong else ""
        return f"{self.conversations} conversations {whose}, {same}{near}{bad}"

    def lines(self) -> list[str]:
        """The whole report as people read it."""
        served = f"{self.engine} {self.quantization or ''}".strip()
        verdict = "passed" if self.passed else "FAILED"
        shown = [f"{verdict}: {served} against {self.reference}: {self.summary()}"]
        for title, found in (("Differences", self.differences), ("Near ties", self.near_ties)):
            if found:
                shown += ["", f"{title}:"]
                shown += [f"  {line}" for each in found for line in each.lines()]
        return [*shown, *(f"Note: {notice}" for notice in self.notices)]


class Parity(View):
    """The gate of a deployment: its state, and the report where there is one."""

    deployment: str
    gate: GateState
    report: ParityReport | None = None
    error: dict[str, Any] | None = Field(
        default=None, description="Why the gate could not be run, where it could not"
    )

    def lines(self) -> list[str]:
        """As people read it."""
        if self.report is not None:
            return [f"{self.deployment}: gate {self.gate}", *self.report.lines()]
        reason = f": {self.error['message']}" if self.error else ""
        return [f"{self.deployment}: gate {self.gate}{reason}"]

    def failure(self) -> PhoundryError:
        """Why the gate is not passed, with the first lines of the diff."""
        name = self.deployment
        way_out = (
            f"`phoundry deployment show {name} --parity` shows all of it; `phoundry deployment "
            f"retry {name}` tries again. To send it traffic all the same: `phoundry deployment "
            f"update {name} --no-gate`."
        )
        if self.error is not None:
            known = from_dict(self.error)
            return type(known)(
                f"The deploy gate of {name} could not be run, so it gets no live traffic: "
                f"{known.message}",
                remedy=" ".join(filter(None, (known.remedy, way_out))),
            )
        lines = [
            line
            for each in (self.report.differences if self.report else [])
            for line in each.lines()
        ]
        shown = "\n".join(f"  {line}" for line in lines[:SHOWN_LINES])
        return ParityError(
            f"{name} does not answer as the model that was trained, so it gets no live traffic.\n"
            f"{shown}".rstrip(),
            remedy=way_out,
        )
