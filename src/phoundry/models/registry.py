"""MLflow's registry: the one record of which model versions there are.

Importing MLflow takes seconds and starts background threads, so only workers use this module; the
control plane's own tables hold what it needs to know.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from phoundry.errors import InvalidInput, ModelError, NotFound

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "phoundry"
JOB, SOURCE, SHA256 = "phoundry.job", "phoundry.source_sha256", "phoundry.sha256"
# Of a model that was trained elsewhere: where it was, and what it was.
PATH, KIND = "phoundry.path", "phoundry.kind"
_NAME = re.compile(r"[a-zA-Z0-9][-_.a-zA-Z0-9]{0,254}")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a registered model."""

    name: str
    version: str
    model_id: str
    run_id: str
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True, slots=True)
class Draft:
    """A model that is being written: `folder` is where MLflow will look for it."""

    run_id: str
    model_id: str
    folder: Path


class Registry:
    """Runs, models and versions under one tracking URI. Safe to use from several processes.

    MLflow makes its database on first use and reads before it writes, both without a lock that
    works between processes; a lock file beside the artifacts serialises our writers.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path) -> None:
        self._uri = tracking_uri
        self._root = artifact_root
        self._connected: MlflowClient | None = None

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the registry's lock; freed by the system if the process dies."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root.parent / ".registry.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @property
    def client(self) -> MlflowClient:
        """MLflow's client. The first use of a home makes the database."""
        if self._connected is None:
            mlflow = load_mlflow()
            # The registry looks models up through the process-wide address, whatever a client
            # was made with.
            mlflow.set_tracking_uri(self._uri)
            mlflow.set_registry_uri(self._uri)
            made: MlflowClient = mlflow.MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
            self._connected = made
        return self._connected

    def versions(self, name: str) -> list[Version]:
        """Versions of `name`, oldest first; none where there is no such model."""
        check_name(name)
        found = [_version(each) for each in self.client.search_model_versions(f"name = '{name}'")]
        return sorted(found, key=lambda version: int(version.version))

    def get(self, name: str, version: str) -> Version:
        """One version. Raises NotFound."""
        known = {each.version: each for each in self.versions(name)}
        if version not in known:
            raise NotFound.named(
                "model version", f"{name}:{version}", [f"{name}:{v}" for v in known]
            )
        return known[version]

    def find(self, name: str, tags: Mapping[str, str]) -> Version | None:
        """The newest version of `name` that has these tags."""
        fitting = [each for each in self.versions(name) if tags.items() <= each.tags.items()]
        return fitting[-1] if fitting else None

    def run(
        self,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, str],
        *,
        started: int | None = None,
    ) -> Any:
        """The run of a job, or of a content where there was no job; made once, and then as it is.

        `started`: when it began, in milliseconds since the epoch; else now. Call under `locked`.
        """
        experiment = self._experiment()
        key = JOB if JOB in tags else SOURCE
        where = f"tags.`{key}` = '{tags[key]}'"
        if runs := self.client.search_runs([experiment], where, max_results=1):
            return runs[0]
        from mlflow.entities import Param

        run: Any = self.client.create_run(
            experiment, start_time=started, tags=dict(tags), run_name=name
        )
        entries = [Param(key, str(value)[:6000]) for key, value in params.items()]
        self.client.log_batch(run.info.run_id, params=entries)
        return run

    def draft(self, name: str, tags: Mapping[str, str], params: Mapping[str, str]) -> Draft:
        """Begin a model: a run and a pending model in it, each made once.

        The run is the job's, or that of the content where there was no job. Call under `locked`.
        """
        run = self.run(tags.get(JOB, name), tags, params)
        experiment, run_id = str(run.info.experiment_id), str(run.info.run_id)
        found: Any = self.client.search_logged_models(
            [experiment], f"source_run_id = '{run_id}' AND name = '{name}'"
        )
        pending = [each for each in found if str(each.status).endswith("PENDING")]
        model: Any = (
            pending[0]
            if pending
            else self.client.create_logged_model(
                experiment, name=name, source_run_id=run_id, tags=dict(tags), model_type="chat"
            )
        )
        return Draft(run_id, str(model.model_id), _folder(str(model.artifact_location)))

    def publish(
        self,
        name: str,
        draft: Draft,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        description: str,
    ) -> Version:
        """Make a version of a model that is complete. Call under `locked`.

        Metrics that the run has already are left as they are: of a job it has their whole curves.
        """
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus
        from mlflow.exceptions import MlflowException

        self.client.finalize_logged_model(draft.model_id, LoggedModelStatus.READY)
        run: Any = self.client.get_run(draft.run_id)
        for key, value in metrics.items():
            if key not in run.data.metrics:
                self.client.log_metric(draft.run_id, key, value)
        self.client.log_outputs(draft.run_id, [LoggedModelOutput(draft.model_id, step=0)])
        try:
            self.client.get_registered_model(name)
        except MlflowException:
            self.client.create_registered_model(name)
        made = self.client.create_model_version(
            name,
            source=f"models:/{draft.model_id}",
            run_id=draft.run_id,
            tags=dict(tags),
            description=description or None,
            model_id=draft.model_id,
        )
        if run.info.status == "RUNNING":
            self.client.set_terminated(draft.run_id)
        return _version(made)

    def folder(self, version: Version) -> Path:
        """Where a version's files are. Raises ModelError where they are gone."""
        model: Any = self.client.get_logged_model(version.model_id)
        folder = _folder(str(model.artifact_location))
        if not (folder / "MLmodel").is_file():
            raise ModelError(f"The files of {version.uri} are gone from {folder}.")
        return folder

    def _experiment(self) -> str:
        known = self.client.get_experiment_by_name(EXPERIMENT)
        if known is not None:
            return str(known.experiment_id)
        return self.client.create_experiment(EXPERIMENT, artifact_location=self._root.as_uri())


def load_mlflow() -> Any:
    """MLflow, imported, which takes seconds: done before the lock, nobody waits for that at it."""
    # Read by MLflow when it is imported: no call home, no advice in the log.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    return mlflow


def check_name(name: str) -> None:
    """Raise InvalidInput for a name that is no model name (see `specs.names.AssetName`)."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"'{name}' is no model name.",
            remedy="Use letters, digits, '-', '_' and '.', beginning with a letter or digit; "
            "255 at most.",
        )


def _version(found: Any) -> Version:
    return Version(
        name=str(found.name),
        version=str(found.version),
        model_id=str(found.source).removeprefix("models:/"),
        run_id=str(found.run_id),
        tags=dict(found.tags or {}),
    )


def _folder(location: str) -> Path:
    """The local folder of an artifact location."""
    parts = urlparse(location)
    if parts.scheme not in ("", "file"):
        raise ModelError(
            f"The MLflow experiment '{EXPERIMENT}' keeps its artifacts at {location}, not on this "
            "machine."
        )
    return Path(unquote(parts.path))
