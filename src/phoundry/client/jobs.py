"""Jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from phoundry.client.paths import located
from phoundry.client.transport import Transport, segment
from phoundry.client.waiting import LONGEST, pause, stopped, wait_for
from phoundry.specs.job import FINISHED, FineTuningJobSpec, Job, LogChunk


class Jobs:
    """`client.jobs`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, spec: FineTuningJobSpec) -> Job:
        """Queue a job. It outlives this process."""
        spec = spec.model_copy(update={"model": located(spec.model)})
        body = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return self._transport.one(Job, "POST", "/api/jobs", json=body, starts=True)

    def show(self, name: str) -> Job:
        return self._transport.one(Job, "GET", f"/api/jobs/{segment(name)}")

    def cancel(self, name: str) -> Job:
        return self._transport.one(Job, "POST", f"/api/jobs/{segment(name)}/cancel", starts=True)

    def resume(self, name: str) -> Job:
        """Queue an ended job again; it goes on from its last checkpoint."""
        return self._transport.one(Job, "POST", f"/api/jobs/{segment(name)}/resume", starts=True)

    def logs(self, name: str, *, offset: int = 0) -> LogChunk:
        """What the job has written from byte `offset` on."""
        return self._transport.one(
            LogChunk, "GET", f"/api/jobs/{segment(name)}/logs", params={"offset": offset}
        )

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
        """The job once it is Completed, Failed or Canceled; `on_progress` sees each change."""
        return wait_for(
            lambda: self.show(name),
            lambda job: job.status in FINISHED,
            on_change=on_progress,
            alive=self._transport.running,
            timeout=timeout,
            what=f"Job {name}",
        )

    def list(self) -> Sequence[Job]:
        return self._transport.many(Job, "/api/jobs")


def follow_log(
    read: Callable[[int], LogChunk], alive: Callable[[], bool], what: str
) -> Iterator[str]:
    """Pieces of a log, from its start until it is finished or, while it grows, nobody is there.

    Raises:
        Unavailable: the control plane has ended.
    """
    offset = 0
    while True:
        chunk = read(offset)
        offset = chunk.offset
        if chunk.text:
            yield chunk.text
        elif chunk.finished:
            return
        elif not alive():
            raise stopped(what)
        else:
            pause(LONGEST / 2)
