"""What is in use: by a row of the store, or by a process that runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from phoundry.compute import workers
from phoundry.errors import PhoundryError
from phoundry.files import read_json
from phoundry.services import bases, parity
from phoundry.services.context import Context
from phoundry.services.models import run_dir as registration
from phoundry.specs.job import FINISHED
from phoundry.store.tables import (
    DataAssetRow,
    DeploymentRow,
    JobRow,
    JourneyRow,
    ModelRow,
    ReplicaRow,
    TaskRow,
)


@dataclass(frozen=True, slots=True)
class Uses:
    """Everything that must stay as it is.

    folders      names of the run folders that a row names
    files        files and folders that a worker was told of which runs or will go on; of a job
                 that may be resumed only its data, because the rest can be made again
    digests      blobs that a data asset names
    models       references to base models that something waits for or serves
    mentioned    references to base models of anything at all
    bases        the folders of `models`
    training     whether a job is under way (it may read any cache of tokens)
    fetching     whether anything is being fetched or converted
    """

    folders: frozenset[str]
    files: frozenset[Path]
    digests: frozenset[str]
    models: frozenset[str]
    mentioned: frozenset[str]
    bases: frozenset[Path]
    training: bool
    fetching: bool

    @classmethod
    def of(cls, session: Session, context: Context) -> Uses:
        jobs = session.scalars(select(JobRow)).all()
        deployments = session.scalars(select(DeploymentRow)).all()
        models = session.scalars(select(ModelRow)).all()
        tasks = session.scalars(select(TaskRow)).all()
        journeys = session.scalars(select(JourneyRow).filter_by(state="running")).all()
        replicas = session.scalars(select(ReplicaRow)).all()
        own = {Path(row.run_dir) for row in (*jobs, *replicas, *tasks)}
        own |= {registration(context, row) for row in models}
        own |= {context.home.run("curves", row.name) for row in jobs}
        own |= {parity.run_dir(context, row) for row in deployments}
        resumable = [row for row in jobs if row.status in ("Failed", "Canceled")]
        open_jobs = [row for row in jobs if row.status not in FINISHED]
        needed = [(row.workspace, str(row.spec["model"])) for row in (*open_jobs, *deployments)]
        # Of the revision before: it serves while another is rolled out, and one may go back to it.
        needed += [
            (row.workspace, str(row.former["spec"]["model"]))
            for row in deployments
            if row.former and not row.former.get("failed")
        ]
        needed += [
            (row.workspace, row.base_model)
            for row in models
            if row.base_model and row.status == "Registering"
        ]
        needed += [(row.workspace, each) for row in journeys for each in strings(row.spec)]
        mentioned = {name for _, name in needed} | {str(row.spec["model"]) for row in jobs}
        mentioned |= {row.base_model for row in models if row.base_model}
        return cls(
            # Names: the home may be reached by another path than when the row was written.
            folders=frozenset(path.name for path in own),
            files=frozenset([*_told(context, open_jobs), *_data_of(context, resumable)]),
            digests=frozenset([*_digests(session), *_flows_of(deployments)]),
            models=frozenset(name for _, name in needed),
            mentioned=frozenset(mentioned),
            bases=frozenset(_folders(session, context, needed)),
            training=bool(open_jobs or journeys),
            fetching=any(row.state == "running" for row in tasks) or bool(journeys),
        )

    def has(self, path: Path) -> bool:
        """Whether `path`, something in it, or something that it is in, is in use."""
        every, path = (*self.files, *(each.resolve() for each in self.bases)), path.resolve()
        return any(each.is_relative_to(path) or path.is_relative_to(each) for each in every)


def _folders(session: Session, context: Context, needed: list[tuple[str, str]]) -> Iterator[Path]:
    """The folders of these models, as far as they can be told."""
    for workspace, name in set(needed):
        try:
            if folder := bases.made(session, replace(context, workspace=workspace), name):
                yield folder
        except PhoundryError:
            continue  # a folder of the user's that is gone: `mentioned` keeps our copy of it


def _digests(session: Session) -> Iterator[str]:
    for row in session.scalars(select(DataAssetRow)):
        yield row.sha256
        for split in (row.train, row.test):
            if split and "sha256" in split:
                yield split["sha256"]


def _flows_of(deployments: Iterable[DeploymentRow]) -> Iterator[str]:
    """The files of flows that are deployed, also of the revision before."""
    for row in deployments:
        for spec in (row.spec, (row.former or {}).get("spec") or {}):
            if snapshot := spec.get("snapshot"):
                yield snapshot["sha256"]


def _told(context: Context, jobs: list[JobRow]) -> Iterator[Path]:
    """Paths in the specs of workers that run, and of `jobs`, which will go on."""
    going_on = {Path(row.run_dir) for row in jobs}
    folders = context.home.runs.iterdir() if context.home.runs.is_dir() else ()
    for folder in folders:
        if folder in going_on or workers.inspect(folder).running:
            yield from _paths(folder)


def _data_of(context: Context, jobs: list[JobRow]) -> Iterator[Path]:
    """The blobs that `jobs` were told of, also where their data asset is deleted since."""
    blobs = context.home.blobs.resolve()
    for row in jobs:
        yield from (path for path in _paths(Path(row.run_dir)) if path.is_relative_to(blobs))


def _paths(run_dir: Path) -> Iterator[Path]:
    for text in strings(read_json(run_dir / "spec.json")):
        if text.startswith("/"):
            yield Path(text).resolve()


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in cast("dict[str, Any]", value).values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from strings(each)
