"""`phoundry get`: the documents that would make again what is there. No secret's value leaves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import SecretStr

from phoundry.errors import NotFound
from phoundry.journey.planning import there
from phoundry.services import connections, data, deployments, endpoints, jobs, journeys, models
from phoundry.services.context import Context
from phoundry.services.traffic import shares
from phoundry.specs.batch import BatchJobSpec
from phoundry.specs.connection import ConnectionSpec
from phoundry.specs.data import DataAsset
from phoundry.specs.deployment import Deployment, DeploymentSpec, GenerationDefaults
from phoundry.specs.documents import DataDocument, ModelDocument
from phoundry.specs.endpoint import EndpointSpec
from phoundry.specs.job import FineTuningJobSpec
from phoundry.specs.plan import Kind

Mapping = dict[str, Any]


def export(context: Context, name: str, kind: Kind | None = None) -> list[Mapping]:
    """The project `name`; where there is none, every resource called so, in the order of making.

    Raises:
        NotFound: nothing is called so; with the nearest names.
    """
    if kind in (None, "project") and (project := _project(context, name)):
        return [project]
    chosen = [kind] if kind else list(EXPORTERS)
    found = [one for each in chosen if each in EXPORTERS for one in EXPORTERS[each](context, name)]
    if not found:
        noun = kind or "project or resource"
        raise NotFound.named(noun, name, _known(context), remedy="`phoundry status` counts them.")
    return found


def _project(context: Context, name: str) -> Mapping | None:
    present = journeys.present(context, name)
    if present is None:
        return None
    spec, _ = present
    found = spec.project.canonical()
    if spec.project.data.asset is not None:
        found["data"] = spec.data  # the very version
    return found


def _data(context: Context, name: str) -> Iterator[Mapping]:
    asset = there(lambda: data.show(context, name))
    if asset is not None:
        yield document_of(asset)


def document_of(asset: DataAsset) -> Mapping:
    return _plain(
        DataDocument(
            name=asset.name,
            path=asset.source or asset.filename,  # pyright: ignore[reportCallIssue]
            config=asset.config,
            split=asset.split,
            mapping=asset.mapping,
            skip_bad=asset.skipped,
            test_size=asset.test_size,
            seed=asset.seed,
            description=asset.description,
            tags=asset.tags,
        ),  # pyright: ignore[reportCallIssue]
        type="uri_file",
    )


def _job(context: Context, name: str) -> Iterator[Mapping]:
    job = there(lambda: jobs.show(context, name))
    if job is None or job.type != "finetuning":
        return
    written = {key: value for key, value in job.parameters.items() if job.sources[key] == "user"}
    spec = FineTuningJobSpec(
        name=job.name,
        display_name=job.display_name,
        model=job.model,
        training_data=job.training_data,
        validation_data=job.validation_data,
        hyperparameters=written,
        tags=job.tags,
    )
    yield _plain(spec, type="finetuning")


def _batch(context: Context, name: str) -> Iterator[Mapping]:
    job = there(lambda: jobs.show(context, name))
    if job is None or job.type != "batch":
        return
    own = {key: value for key, value in job.parameters.items() if job.sources.get(key) == "user"}
    known = GenerationDefaults.model_fields
    spec = BatchJobSpec(
        type="batch",
        name=job.name,
        display_name=job.display_name,
        model=None if job.endpoint else job.model,
        endpoint=job.endpoint,
        input=job.input,
        parameters=GenerationDefaults(**{key: own.pop(key) for key in [*own] if key in known}),
        tags=job.tags,
        **own,
    )
    yield _plain(spec, type="batch")


def _model(context: Context, name: str) -> Iterator[Mapping]:
    model = there(lambda: models.show(context, name))
    origin = f"azureml://jobs/{model.job}/outputs/model" if model and model.job else None
    if model is None or not (origin or model.path):
        return
    spec = ModelDocument(
        name=model.name,
        path=origin or str(model.path),
        description=model.description,
        tags={key: value for key, value in model.tags.items() if not key.startswith("phoundry.")},
    )
    yield _plain(spec, type="mlflow_model")


def _endpoint(context: Context, name: str) -> Iterator[Mapping]:
    found = there(lambda: endpoints.show(context, name))
    if found is None or found.provisioning_state == "Deleting":
        return
    spec = EndpointSpec(
        name=found.name,
        traffic=shares(found.traffic),
        mirror_traffic=found.mirror_traffic,
        rate_limit=found.rate_limit,
        allowed_origins=found.allowed_origins,
        description=found.description,
        tags=found.tags,
    )
    yield {**_plain(spec), "auth_mode": found.auth_mode}
    for deployment in deployments.listing(context, name):
        yield from _of_deployment(deployment)


def _deployment(context: Context, name: str) -> Iterator[Mapping]:
    endpoint, slash, own = name.partition("/")
    found = there(lambda: deployments.show(context, endpoint, own)) if slash else None
    if found is not None:
        yield from _of_deployment(found)


def _of_deployment(found: Deployment) -> Iterator[Mapping]:
    if found.provisioning_state == "Deleting":
        return
    known = found.model_dump(include=set(DeploymentSpec.model_fields) - {"schema_"})
    known["gate"] = found.gate != "skipped"
    if found.flow is not None:  # the rest follows from the folder
        for field in ("model", "engine", "snapshot", "gate"):
            del known[field]
    yield _plain(DeploymentSpec.model_validate(known))


def _connection(context: Context, name: str) -> Iterator[Mapping]:
    found = there(lambda: connections.show(context, name))
    if found is None:
        return
    hidden = {name: SecretStr(value) for name, value in found.secrets.items()}
    spec = ConnectionSpec(name=found.name, type=found.type, configs=found.configs, secrets=hidden)
    secrets = {secret: variable_of(found.name, secret) for secret in found.secrets}
    yield {**_plain(spec), "type": found.type, "secrets": secrets}


def variable_of(connection: str, secret: str) -> str:
    """`${FAQ_KEY}`: where `apply` takes the value from."""
    return "${" + re.sub(r"[^A-Za-z0-9]+", "_", f"{connection}_{secret}").upper() + "}"


EXPORTERS: dict[Kind, Callable[[Context, str], Iterator[Mapping]]] = {
    "data": _data,
    "job": _job,
    "batch": _batch,
    "model": _model,
    "endpoint": _endpoint,
    "deployment": _deployment,
    "connection": _connection,
}


def _plain(spec: Any, **first: Any) -> Mapping:
    """What a spec says beyond its defaults, its name first."""
    found = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    return {"name": found.pop("name"), **first, **found}


def _known(context: Context) -> list[str]:
    nouns: tuple[Any, ...] = (journeys, data, endpoints, connections, jobs, models)
    return list(dict.fromkeys(each.name for noun in nouns for each in noun.listing(context)))
