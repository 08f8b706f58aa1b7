"""A control plane that holds what it is given in memory, for tests of those who call one.

It answers the contract of the API over real HTTP on loopback and checks the token, so that
transport, client and commands are tested as they run.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from phoundry.errors import NotFound, PhoundryError, Unauthenticated

TOKEN = "token-of-the-fake-control-plane"
KEY = "key-of-every-fake-endpoint"
CREATED = "2026-11-22T12:00:00+00:00"


@dataclass
class FakeApi:
    """What the fake knows, and how its resources go on.

    `job_states`, `plannings` and `journey_states` are what the next looks at a job, a plan or a
    journey show, the last one for good; `curves` are a job's `metrics`, `samples` and
    `checkpoints`; `answers` are the pieces that a chat streams.
    """

    url: str = ""
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    job_states: list[dict[str, Any]] = field(default_factory=list)
    plannings: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    journey_states: list[dict[str, Any]] = field(default_factory=list)
    deployment_states: list[dict[str, Any]] = field(default_factory=list)
    parity: dict[str, Any] = field(default_factory=lambda: {"gate": "pending"})
    model_states: list[dict[str, Any]] = field(default_factory=list)
    file_states: list[dict[str, Any]] = field(default_factory=list)
    answers: list[str] = field(default_factory=lambda: ["Hel", "lo."])
    chats: list[dict[str, Any]] = field(default_factory=list)
    log: str = "line 1\nline 2\n"
    seen: list[tuple[str, str]] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    catalog: list[dict[str, Any]] = field(default_factory=list)

    def handle(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        self.seen.append((method, path))
        parts = [unquote(part) for part in path.removeprefix("/api/").split("/")]
        if parts == ["status"]:
            return {"version": "0", "home": "h", "running": True, "tracking_uri": "sqlite:///x"}
        if parts[0] == "catalog":
            return self.bases(query) if len(parts) == 1 else self.base(query["name"])
        if parts[0] == "endpoints" and len(parts) > 1:
            return self.endpoint(method, parts[1:], query, body)
        if parts[0] == "jobs" and len(parts) == 3:
            return self.job(parts[1], parts[2], query)
        if parts[0] == "job-plans":
            return {"name": "p1"} | (self.next(self.plannings) if method == "GET" else {})
        if parts == ["model-files"]:
            return {"model": query["model"], "format": "gguf"} | self.next(self.file_states)
        if parts == ["apply", "plan"]:
            return self.plan(body)
        if parts == ["data", "files"]:
            self.uploads[hashlib.sha256(body).hexdigest()] = body
            return {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}
        if parts == ["data"] and method == "POST":
            return self.create_data(body)
        if method == "POST":
            return self.create(parts[0], body)
        if len(parts) == 1:
            return list(self.resources.get(parts[0], {}).values())
        return self.look(parts[0], parts[1])

    def job(self, name: str, what: str, query: dict[str, str]) -> Any:
        if what == "logs":
            return self.chunk(query)
        if what in ("cancel", "pause"):
            return self.update("jobs", name, {"status": f"{what.title()}Requested"})
        step = query.get("step")
        return [e for e in self.curves.get(what, []) if step in (None, str(e["step"]))]

    def bases(self, query: dict[str, str]) -> list[dict[str, Any]]:
        words = query.get("search", "").lower()
        return [each for each in self.catalog if words in each["name"].lower()]

    def base(self, name: str) -> dict[str, Any]:
        for each in self.catalog:
            if each["name"] == name:
                return each
        raise NotFound.named("model", name, [each["name"] for each in self.catalog])

    def plan(self, body: dict[str, Any]) -> dict[str, Any]:
        """Of projects: their data as they are or to be made, and a job."""
        items: list[dict[str, Any]] = []
        for document in body["documents"]:
            name = document["spec"]["name"]
            known = self.resources.get("data", {}).get(name, {"version": "1", "sha256": None})
            same = known["sha256"] == document["facts"]["sha256"]
            action = "nothing" if same else "create"
            items.append({"kind": "data", "name": f"{name}:{known['version']}", "action": action})
            items.append({"kind": "job", "name": f"{name}-1", "action": "create"})
        return {"items": items, "notes": []}

    def create(self, kind: str, body: dict[str, Any]) -> Any:
        name = body.get("project", body).get("name") or "made-up-name"
        made = getattr(self, f"new_{kind}")(name, body)
        self.resources.setdefault(kind, {})[name] = made
        return made

    def create_data(self, body: dict[str, Any]) -> dict[str, Any]:
        known = self.resources.setdefault("data", {})
        name, (file,) = body["name"], body["files"]
        content = self.uploads.pop(file["sha256"])
        version = str(int(known.get(name, {"version": "0"})["version"]) + 1)
        split = {"rows": content.count(b"\n"), "bytes": len(content), "sha256": "s"}
        known[name] = {
            **body,
            **file,
            "version": version,
            "format": body["format"] or "messages",
            "train": split,
            "created_at": CREATED,
        }
        return known[name]

    def new_jobs(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        parameters = body.get("hyperparameters", {})
        sources = dict.fromkeys(parameters, "user")
        kept = {
            key: body[key] for key in ("model", "training_data", "validation_data") if key in body
        }
        return (
            {"name": name, "status": "Queued", "created_at": CREATED}
            | kept
            | {
                "parameters": parameters,
                "sources": sources,
            }
        )

    def new_models(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        return (
            {"name": name, "version": "1", "status": "Registering", "created_at": CREATED}
            | {key: body[key] for key in ("job", "path") if key in body}
            | {"base_model": body.get("base")}
        )

    def new_endpoints(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "provisioning_state": "Succeeded", "created_at": CREATED} | {
            "scoring_uri": f"{self.url}/endpoints/{name}/score",
            "openai_base_url": f"{self.url}/v1",
            "traffic": body.get("traffic", {}),
            "auth_mode": body.get("auth_mode", "key"),
            "deployments": [],
        }

    def new_journeys(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        self.resources.setdefault("endpoints", {})[name] = self.new_endpoints(name, {})
        known = {"name": name, "endpoint": name, "flow_path": body["flow_path"], "spec": body}
        return {"state": "running", "steps": [], "created_at": CREATED} | known

    def endpoint(self, method: str, parts: list[str], query: dict[str, str], body: Any) -> Any:
        name, rest = parts[0], parts[1:]
        found = self.look("endpoints", name)
        if rest == ["listkeys"] or rest == ["regeneratekeys"]:
            fresh = "fresh-" if rest == ["regeneratekeys"] else ""
            return {"primaryKey": fresh + KEY, "secondaryKey": KEY + "-2"}
        if rest == ["token"]:
            times = {"expiryTimeUtc": body["seconds"], "refreshAfterTimeUtc": 1}
            return {"accessToken": "token-of-" + name} | times
        if rest[:1] == ["deployments"]:
            return self.deployment(method, found, rest[1:], query, body)
        if method == "PATCH":
            return self.update("endpoints", name, body)
        if method == "DELETE":
            del self.resources["endpoints"][name]
            return {}
        return found

    def deployment(
        self,
        method: str,
        endpoint: dict[str, Any],
        rest: list[str],
        query: dict[str, str],
        body: Any,
    ) -> Any:
        kind = f"deployments of {endpoint['name']}"
        known = self.resources.setdefault(kind, {})
        if method == "PATCH":
            changed = {"provisioning_state": "Updating", "revision": 2, "gate": "skipped"}
            return known[rest[0]] | body | changed
        if rest[1:] == ["rollback"]:
            return known[rest[0]] | {"provisioning_state": "Updating", "revision": 3}
        if method == "POST":
            known[body["name"]] = {
                "engine": "llama.cpp",
                **body,
                "gate": "skipped",
                "provisioning_state": "Creating",
                "created_at": CREATED,
            }
            endpoint["deployments"].append(body["name"])
            endpoint["traffic"].setdefault(body["name"], 0 if endpoint["traffic"] else 100)
            return known[body["name"]]
        if not rest:
            return list(known.values())
        if rest[1:] == ["parity"]:
            return {"deployment": f"{endpoint['name']}/{rest[0]}", **self.parity}
        if rest[1:] == ["logs"]:
            number = query.get("replica")
            return self.chunk(query) | ({} if number is None else {"text": f"of {number}"})
        if method == "DELETE":
            self.look(kind, rest[0])
            endpoint["deployments"].remove(rest[0])
            del known[rest[0]]
            return {}
        if self.deployment_states:
            known[rest[0]] |= self.next(self.deployment_states)
        return self.look(kind, rest[0])

    def chunk(self, query: dict[str, str]) -> Any:
        text = self.log[int(query.get("offset", 0)) :]
        return {"text": text, "offset": len(self.log), "finished": True}

    def look(self, kind: str, name: str) -> dict[str, Any]:
        known = self.resources.get(kind, {})
        if name not in known:
            raise NotFound.named(kind.removesuffix("s"), name, known)
        states = getattr(self, f"{kind.removesuffix('s')}_states", None)
        if states and kind != "endpoints":
            known[name] |= self.next(states)
        return known[name]

    def update(self, kind: str, name: str, values: dict[str, Any]) -> dict[str, Any]:
        known = self.look(kind, name)
        known |= values
        return known

    @staticmethod
    def next(states: list[dict[str, Any]]) -> dict[str, Any]:
        return states.pop(0) if len(states) > 1 else states[0]


class _Handler(BaseHTTPRequestHandler):
    api: FakeApi

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        content = self.rfile.read(length)
        if url.path == "/healthz":
            return self._send(200, {"status": "ok"})
        if url.path == "/v1/chat/completions":
            return self._chat(json.loads(content))
        try:
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                raise Unauthenticated("The token is missing or wrong.")
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            raw = url.path == "/api/data/files"
            body = content if raw else json.loads(content) if content else None
            return self._send(200, self.api.handle(self.command, url.path, query, body))
        except PhoundryError as error:
            return self._send(error.status, {"error": error.to_dict()})

    def _send(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _chat(self, body: dict[str, Any]) -> None:
        self.api.chats.append(body)
        if self.headers.get("authorization") != f"Bearer {KEY}":
            error = {"message": "The key is wrong.", "code": "Unauthenticated"}
            return self._send(401, {"error": error})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for piece in self.api.answers:
            event = {"choices": [{"delta": {"content": piece}, "finish_reason": None}]}
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")
        return None

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815


@contextmanager
def serve() -> Generator[FakeApi]:
    """A fake control plane (and gateway) on a free port of loopback."""
    api = FakeApi()
    handler = type("Handler", (_Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
