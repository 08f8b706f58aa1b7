"""Applying files over the real services in this process, with workers that a test drives."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from phoundry.client import Client
from phoundry.client.in_process import InProcessTransport
from phoundry.client.transport import Transport
from phoundry.errors import from_dict
from phoundry.server.app import create_app
from phoundry.server.control_plane import tick
from phoundry.services import journeys
from phoundry.services.context import Context
from phoundry.specs.documents import Document
from phoundry.specs.plan import Plan
from phoundry.store.database import Database
from tests.services.fake_workers import FakeWorkers


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours handles it."""


class Killer:
    """Ends everything just before, or just after, the n-th transaction that writes."""

    def __init__(self, at: int = -1, *, before: bool = False) -> None:
        self.at, self.before = at, before
        self.writes = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        begin = Database.begin
        killer = self

        @contextmanager
        def watched(database: Database) -> Generator[Session]:
            outermost = database._current.get() is None  # pyright: ignore[reportPrivateUsage]
            with begin(database) as session:
                yield session
                session.flush()
                wrote = outermost and bool(session.info.get("wrote"))
                if wrote and killer.before:
                    killer.count()
            if wrote and not killer.before:
                killer.count()

        monkeypatch.setattr(Database, "begin", watched)

    def count(self) -> None:
        self.writes += 1
        if self.writes == self.at:
            raise Killed


@event.listens_for(Session, "after_flush")
def _wrote(session: Session, _: Any) -> None:
    session.info["wrote"] = True


class Site:
    """A home, a client on it, and the control plane's ticks."""

    def __init__(self, context: Context, fleet: FakeWorkers, folder: Path) -> None:
        self.context, self.fleet, self.folder = context, fleet, folder
        self.client = Client(context.home)

    def write(self, text: str, name: str = "phoundry.yaml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def plan(self, *files: Path, **options: Any) -> Plan:
        return self.client.apply.plan(self.client.apply.read(*files, **options))

    def apply(self, *files: Path, **options: Any) -> Plan:
        """As the command does it; the plan that it began with."""
        documents = self.client.apply.read(*files, **options)
        plan = self.client.apply.plan(documents)
        if not plan.empty:
            self.client.apply.run(documents, plan, follow=self.follow)
        return plan

    def turn(self) -> None:
        tick(self.context, "127.0.0.1", 7411)
        self.fleet.work()

    def follow(self, document: Document) -> None:
        for _ in range(40):
            self.turn()
            if self.arrived(document):
                return
        raise AssertionError(f"{document.name} does not end")

    def arrived(self, document: Document) -> bool:
        if document.kind == "project":
            journey = journeys.show(self.context, document.name)
            if journey.error:
                raise from_dict(journey.error)
            return journey.state == "done"
        post = self.client.apply._post  # pyright: ignore[reportPrivateUsage]
        return post("/api/apply/documents", document).done


def actions(plan: Plan) -> dict[str, str]:
    return {item.kind: item.action for item in plan.items}


def in_process(monkeypatch: pytest.MonkeyPatch, context: Context) -> None:
    """No call starts a control plane: the test ticks."""
    import httpx

    app = create_app(context.home, context=context)
    headers = {"Authorization": f"Bearer {app.state.token}"}
    http = httpx.Client(
        base_url="http://127.0.0.1", headers=headers, transport=InProcessTransport(app)
    )

    def client(transport: Transport, *, starts: bool) -> httpx.Client:
        return http

    monkeypatch.setattr(Transport, "_client", client)
