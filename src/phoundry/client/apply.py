"""Applying files: plan, make, wait; and the file that would make again what is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phoundry.client.documents import read_files
from phoundry.client.jobs import handed_over
from phoundry.client.transport import Transport
from phoundry.client.waiting import wait_for
from phoundry.errors import from_dict
from phoundry.specs.documents import Document
from phoundry.specs.journey import JourneySpec
from phoundry.specs.plan import Declared, Kind, Outcome, Plan, PlanItem, PlanRequest, SourceFacts
from phoundry.specs.project import CHAT, Project

if TYPE_CHECKING:
    from phoundry.client.data import Data
    from phoundry.client.journeys import Journeys

Follow = Callable[[Document], None]
PLAN_SECONDS = 120.0  # tokens may be counted


class Apply:
    """`client.apply`"""

    def __init__(self, transport: Transport, data: Data, journeys: Journeys) -> None:
        self._transport = transport
        self._data = data
        self._journeys = journeys

    def read(
        self,
        *files: Path | str,
        settings: Mapping[str, str] | None = None,
        name: str | None = None,
        stdin: Callable[[], str] | None = None,
    ) -> Sequence[Document]:
        """The documents of YAML files and folders, in the order in which they can be made.

        Raises:
            InvalidInput: every fault of all of them, with file and line.
        """
        return read_files(files, settings=settings, name=name, stdin=stdin)

    def plan(self, documents: Sequence[Document]) -> Plan:
        """What applying `documents` would do; nothing is changed by asking.

        Raises:
            InvalidInput, NotFound: what cannot be done.
            Conflict: a project is under way with other settings.
        """
        request = PlanRequest(documents=[self._declared(each) for each in documents])
        body = request.model_dump(mode="json")
        return self._transport.one(Plan, "POST", "/api/apply/plan", json=body)

    def run(
        self,
        documents: Sequence[Document],
        plan: Plan | None = None,
        *,
        wait: bool = True,
        follow: Follow | None = None,
    ) -> Sequence[str]:
        """Make what `documents` declare, in their order; returns what is left for later.

        Interrupted anywhere, the same call goes on.

        Args:
            plan: what `plan` returned, where it was asked already.
            wait: until each is there; else only what can be begun at once is begun.
            follow: waits instead of this, as a command does that shows progress.

        Raises:
            PhoundryError: the failure of what failed.
        """
        plan = plan or self.plan(documents)
        pending: list[str] = []
        for document in documents:
            here = f"{document.kind}/{document.name}"
            if not wait and _waits(plan, document, pending):
                pending.append(here)
                continue
            done = self.begin(document, plan)
            if wait and not done:
                (follow or self.wait)(document)
            elif not done:
                pending.append(here)
        for document in documents:
            if document.kind == "endpoint" and _shares(document) and not pending:
                self._post("/api/apply/traffic", document)
        return pending

    def begin(self, document: Document, plan: Plan) -> bool:
        """Begin to make what `document` declares. True if it is there already."""
        if document.kind == "project":
            journey = self._journeys.create(self._journey(document.spec, plan))
            return journey.state == "done"
        if document.kind == "data":
            item = _item(plan, "data", document.name)
            if item is None or item.action != "nothing":
                self._create_data(document.name, document.spec, document.spec.source)
            return True
        if document.kind == "batch":
            item = _item(plan, "job", document.name)
            if item is not None and item.action == "create":
                file = handed_over(self._transport, document.spec).file
                document = document.with_spec(file=file)
        return self._post("/api/apply/documents", document, again=True).done

    def wait(self, document: Document, on_change: Callable[[Outcome], None] | None = None) -> None:
        """Until what `document` declares is there. Raises the failure of what failed."""
        if document.kind == "project":
            journey = self._journeys.wait(document.name)
            if journey.error:
                raise from_dict(journey.error)
            return
        wait_for(
            lambda: self._post("/api/apply/documents", document),
            lambda outcome: outcome.done,
            on_change=on_change,
            alive=self._transport.running,
            what=f"The {document.kind} '{document.name}'",
        )

    def get(self, name: str, kind: Kind | None = None) -> Sequence[dict[str, Any]]:
        """The documents that would make again what is called `name`; secrets as `${VARIABLE}`."""
        from urllib.parse import quote

        path = f"/api/apply/documents/{quote(name, safe='/')}"
        return self._transport.request("GET", path, params={"kind": kind})

    def _journey(self, project: Project, plan: Plan) -> JourneySpec:
        """The project with its data as an asset, made now if the plan says so."""
        if project.data.asset is not None:
            asset = self._data.show(project.data.asset)
            reference = f"{asset.name}:{asset.version}"
        else:
            item = _item(plan, "data", project.name)
            if item is not None and item.action == "nothing":
                reference = item.name
            else:
                made = self._create_data(project.name, project.data, str(project.data.source))
                reference = f"{made.name}:{made.version}"
        return JourneySpec(project=project, data=reference, flow_path=self.flow_path(project))

    def _create_data(self, name: str, wanted: Any, source: str) -> Any:
        return self._data.create(
            name,
            source,
            config=wanted.config,
            split=wanted.split,
            format=wanted.format,
            mapping=wanted.mapping,
            skip_bad=wanted.skip_bad,
            test_size=wanted.test_size,
            seed=wanted.seed,
            description=getattr(wanted, "description", ""),
            tags=getattr(wanted, "tags", {}),
        )

    def flow_path(self, project: Project) -> str | None:
        """The folder of the project's flow, made for it or the user's own."""
        if project.flow == CHAT:
            return str(self._transport.home.root / "flows" / project.name)
        return project.flow

    def _declared(self, document: Document) -> Declared:
        facts = flow = None
        if document.kind == "project":
            project: Project = document.spec
            flow = self.flow_path(project)
            if project.data.source is not None:
                facts = facts_of(project.data.source, project.data.config, project.data.split)
        elif document.kind == "data":
            facts = facts_of(document.spec.source, document.spec.config, document.spec.split)
        return Declared(kind=document.kind, spec=_body(document), facts=facts, flow_path=flow)

    def _post(self, path: str, document: Document, *, again: bool = False) -> Outcome:
        declared = Declared(kind=document.kind, spec=_body(document))
        body = declared.model_dump(mode="json")
        params = {"again": "true"} if again else None
        starts = document.kind != "connection"
        return self._transport.one(Outcome, "POST", path, json=body, params=params, starts=starts)


def facts_of(source: str, config: str | None, split: str | None) -> SourceFacts:
    """Hash and size of a local source; of a data set of the hub its name alone."""
    from phoundry.data.sources import expand
    from phoundry.files import sha256_file

    if config is not None or split is not None or not _is_local(source):
        return SourceFacts(filename=source)
    files = expand(source)
    hashes = [sha256_file(file.path) for file in files]
    return SourceFacts(
        sha256=combined(hashes),
        bytes=sum(file.path.stat().st_size for file in files),
        filename=source,
    )


def combined(hashes: Sequence[str]) -> str:
    """The hash of a set of files, as a data asset has it."""
    from hashlib import sha256

    return hashes[0] if len(hashes) == 1 else sha256("".join(hashes).encode()).hexdigest()


def _is_local(source: str) -> bool:
    return Path(source).is_absolute()


def _body(document: Document) -> dict[str, Any]:
    """As it travels. Only what was written, and secrets in clear: they are for the vault."""
    if document.kind == "project":
        return document.spec.canonical()
    body = document.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if document.kind == "connection":
        secrets = document.spec.secrets.items()
        body["secrets"] = {key: value.get_secret_value() for key, value in secrets}
    return body


def _item(plan: Plan, kind: str, name: str) -> PlanItem | None:
    found = (i for i in plan.items if i.kind == kind and i.name.partition(":")[0] == name)
    return next(found, None)


def _shares(document: Document) -> bool:
    """Whether an endpoint's document says which deployments get its requests."""
    spec = document.spec
    return bool(spec.traffic) or "mirror_traffic" in spec.model_fields_set


def _waits(plan: Plan, document: Document, pending: Sequence[str]) -> bool:
    """Whether the document refers to something that has been begun and is not there yet."""
    names = {each.partition(":")[0] for each in pending}
    item = _item(plan, document.kind, document.name)
    return item is not None and any(need.partition(":")[0] in names for need in item.waits_for)
