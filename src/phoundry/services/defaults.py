"""A deployment's defaults: checked against its model, changed while it serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.data import ChatTokenizer
from phoundry.errors import InvalidInput
from phoundry.files import read_json
from phoundry.services import bases, engine_files, replicas, revisions
from phoundry.services.context import Context
from phoundry.serving.replica.defaults import check, check_max_tokens
from phoundry.specs.deployment import DeploymentSpec, GenerationDefaults
from phoundry.store.tables import DeploymentRow, ReplicaRow

CONTEXT = 4096  # tokens of one conversation, where the model takes as many


def context_length(model: str, asked: int | None, config: dict[str, Any]) -> int:
    """Tokens of one conversation with a model of this config.json.

    Raises:
        InvalidInput: more were asked for than the model takes.
    """
    longest = int(config.get("max_position_embeddings", CONTEXT))
    if asked and asked > longest:
        raise InvalidInput(
            f"A context of {asked} tokens was asked for; '{model}' takes {longest}.",
            remedy="Delete this deployment and create it with a smaller --context-length.",
        )
    return asked or min(CONTEXT, longest)


def check_new(session: Session, context: Context, spec: DeploymentSpec) -> None:
    """Refuse an answer larger than the context, and an engine that does not know the architecture,
    where the model's config is known already.

    Of a model that is yet to be fetched the replica checks the same before it serves.
    """
    config = bases.config(session, context, spec.model)
    if config is not None:
        engine_files.check(spec.engine, config)
        longest = int(config.get("max_position_embeddings", CONTEXT))
        check_max_tokens(spec.defaults, spec.context_length or min(CONTEXT, longest))


def change(
    session: Session, context: Context, row: DeploymentRow, defaults: GenerationDefaults
) -> GenerationDefaults:
    """Put those of `defaults` that were given in the place of the row's; returns all in force.

    Raises:
        InvalidInput: the model cannot answer under them.
    """
    given = defaults.model_dump(mode="json", exclude_unset=True)
    found = GenerationDefaults.model_validate(of(row.spec) | given)
    for replica in replicas.of(session, context, row):
        running: dict[str, Any] = read_json(Path(replica.run_dir) / "spec.json") or {}
        if (Path(running.get("tokenizer_dir", "-")) / "tokenizer.json").exists():
            tokenizer = ChatTokenizer.load(Path(running["tokenizer_dir"]))
            check(found, tokenizer, int(running["context_length"]))
            break  # the others run the same model
    row.spec = row.spec | {"defaults": found.model_dump(mode="json")}
    return found


def deliver(row: DeploymentRow, replica: ReplicaRow) -> bool:
    """Write what changes while it serves where the replica looks for it. False: it stood there."""
    if replica.revision not in (row.revision, (row.former or {}).get("revision")):
        return False  # of its revision nothing is known any more; it drains soon
    spec = revisions.spec_of(row, replica.revision)
    collector = spec.get("data_collector")
    return workers.amend(Path(replica.run_dir), defaults=of(spec), data_collector=collector)


def of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A deployment's defaults in JSON; a row older than they are has none."""
    found = GenerationDefaults.model_validate(spec.get("defaults") or {})
    return found.model_dump(mode="json")
