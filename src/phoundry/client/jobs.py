"""Jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.client.paths import located
from phoundry.client.transport import Transport, segment
from phoundry.client.waiting import LONGEST, RESTART_SECONDS, Presence, pause, stopped, wait_for
from phoundry.errors import InvalidInput, PhoundryError, Unavailable
from phoundry.files import atomic_file
from phoundry.specs.batch import BatchJobSpec
from phoundry.specs.job import (
    RESTING,
    FineTuningJobSpec,
    Job,
    JobCheckpoint,
    JobFile,
    JobPlan,
    LogChunk,
    MetricPoint,
    Planning,
    SampleGeneration,
)

if TYPE_CHECKING:
    from phoundry.client.sources import Progress


class Jobs:
    """`client.jobs`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self, spec: FineTuningJobSpec | BatchJobSpec, *, on_progress: Progress | None = None
    ) -> Job:
        """Queue a job. It outlives this process.

        Args:
            on_progress: told how much of a batch's file is handed over.

        Raises:
            InvalidInput: parameters, or lines of a batch: all faults at once.
        """
        if isinstance(spec, BatchJobSpec):
            spec = handed_over(self._transport, spec, on_progress)
        return self._transport.one(Job, "POST", "/api/jobs", json=_body(spec), starts=True)

    def plan(
        self, spec: FineTuningJobSpec, on_wait: Callable[[Planning], None] | None = None
    ) -> JobPlan:
        """What the job of `spec` would take: tokens, steps, memory, time, disk. None is created.

        The base model is fetched first where it is not here, then the data are rendered and a few
        steps are run. Whoever stops waiting stops that too.

        Args:
            on_wait: while it is worked out, sees how far it is.

        Raises:
            NotFound, InvalidInput: as for `create`. That it does not fit is no error here: see
                `fits` and `would_fit`.
        """
        begun = self._transport.one(
            Planning, "POST", "/api/job-plans", json=_body(spec), starts=True
        )
        path = f"/api/job-plans/{segment(begun.name)}"
        try:
            found = wait_for(
                lambda: self._transport.one(Planning, "GET", path),
                lambda planning: planning.plan is not None,
                on_change=on_wait,
                alive=self._transport.running,
                what="The plan",
            )
        finally:
            with suppress(PhoundryError):  # kept by the control plane until it forgets it
                self._transport.request("DELETE", path)
        assert found.plan is not None  # noqa: S101 - waited for
        return found.plan

    def show(self, name: str) -> Job:
        return self._transport.one(Job, "GET", f"/api/jobs/{segment(name)}")

    def pause(self, name: str) -> Job:
        """Ask a job to stop until it is resumed; it writes a checkpoint first."""
        return self._transport.one(Job, "POST", f"/api/jobs/{segment(name)}/pause", starts=True)

    def cancel(self, name: str) -> Job:
        """Ask a job to stop for good. One that trains keeps the best state so far as its output."""
        return self._transport.one(Job, "POST", f"/api/jobs/{segment(name)}/cancel", starts=True)

    def resume(self, name: str) -> Job:
        """Queue a paused or ended job again; it goes on from its last checkpoint."""
        return self._transport.one(Job, "POST", f"/api/jobs/{segment(name)}/resume", starts=True)

    def logs(self, name: str, *, offset: int = 0) -> LogChunk:
        """What the job has written from byte `offset` on."""
        return self._transport.one(
            LogChunk, "GET", f"/api/jobs/{segment(name)}/logs", params={"offset": offset}
        )

    def metrics(self, name: str) -> Sequence[MetricPoint]:
        """The job's curves: an entry for each step that it told of, about 2,000 at most."""
        return self._transport.many(MetricPoint, f"/api/jobs/{segment(name)}/metrics")

    def samples(self, name: str, *, step: int | None = None) -> Sequence[SampleGeneration]:
        """What the model answered at the newest evaluation, or at the one of `step`."""
        path = f"/api/jobs/{segment(name)}/samples"
        return self._transport.many(SampleGeneration, path, params={"step": step})

    def checkpoints(self, name: str) -> Sequence[JobCheckpoint]:
        """What the job can go on from, oldest first; the best one is marked."""
        return self._transport.many(JobCheckpoint, f"/api/jobs/{segment(name)}/checkpoints")

    def outputs(self, name: str) -> Sequence[JobFile]:
        """The files that a job has made so far, by their paths in its output folder."""
        return self._transport.many(JobFile, f"/api/jobs/{segment(name)}/outputs")

    def download(self, name: str, folder: Path | str) -> Sequence[Path]:
        """Copy what a job has made into `folder`, each file whole or not at all; where they are."""
        from urllib.parse import quote

        copied: list[Path] = []
        for each in self.outputs(name):
            target = _inside(Path(folder), each.path)
            path = f"/api/jobs/{segment(name)}/outputs/{quote(each.path)}"
            with self._transport.stream(path) as pieces, atomic_file(target) as file:
                for piece in pieces:
                    file.write(piece)
            copied.append(target)
        return copied

    def follow(self, name: str) -> Iterator[str]:
        """The job's log as it is written, until the job ends."""
        return follow_log(
            lambda offset: self.logs(name, offset=offset), self._transport.running, f"Job {name}"
        )

    def wait(
        self,
        name: str,
        on_progress: Callable[[Job], None] | None = None,
        *,
        timeout: float | None = None,
    ) -> Job:
        """The job once it is Completed, Failed, Canceled or Paused; `on_progress` sees each
        change."""
        return wait_for(
            lambda: self.show(name),
            lambda job: job.status in RESTING,
            on_change=on_progress,
            alive=self._transport.running,
            timeout=timeout,
            patience=RESTART_SECONDS,
            what=f"Job {name}",
        )

    def list(self) -> Sequence[Job]:
        return self._transport.many(Job, "/api/jobs")


def handed_over(
    transport: Transport, spec: BatchJobSpec, on_progress: Progress | None = None
) -> BatchJobSpec:
    """`spec` with the bytes of its input sent, if that is a file that is here."""
    from phoundry.client.sources import upload
    from phoundry.data import SourceFile

    path = Path(spec.input).expanduser()
    if spec.file is not None or not path.is_file():
        return spec
    tell: Progress = on_progress or (lambda what, done, total: None)
    (file,) = upload(transport, [SourceFile(path, path.name)], tell)
    return spec.model_copy(update={"input": str(path.absolute()), "file": file})


def _inside(folder: Path, path: str) -> Path:
    """`folder / path`. Raises InvalidInput for a path that a server should never name."""
    target = folder / path
    if not target.resolve().is_relative_to(folder.resolve()):
        raise InvalidInput(f"The output '{path}' lies outside of its job's folder.")
    return target


def _body(spec: FineTuningJobSpec | BatchJobSpec) -> dict[str, Any]:
    if spec.model is not None:
        spec = spec.model_copy(update={"model": located(spec.model)})
    return spec.model_dump(mode="json", by_alias=True, exclude_unset=True)


def follow_log(
    read: Callable[[int], LogChunk], alive: Callable[[], bool], what: str
) -> Iterator[str]:
    """Pieces of a log, from its start until it is finished or, while it grows, nobody is there.

    Raises:
        Unavailable: the control plane has ended.
    """
    offset, presence = 0, Presence(alive)
    while True:
        try:
            chunk = read(offset)
        except Unavailable:
            if not presence.bearable:
                raise
            pause(LONGEST)
            continue
        offset, there = chunk.offset, bool(presence)
        if chunk.text:
            yield chunk.text
        elif chunk.finished:
            return
        elif not there:
            raise stopped(what)
        else:
            pause(LONGEST / 2)
