"""A hub on this machine: models and data sets, and everything that can go wrong on the way.

It speaks what `huggingface_hub` and `datasets` (2.19 and 5) ask of one: listings, commits, hashes,
ranges, codes of errors. Each answer is made of the repository's folder as it is at that moment.

    with serve({"someone/tiny": Repo(folder)}) as hub:
        hub.fail("model.safetensors", Drop(after=1000), times=2)
        ... HF_ENDPOINT=hub.address ...
        assert hub.fetched("model.safetensors")
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.support.hub_faults import Drop, Fault, Oversized, Refuse, Stall, WrongBytes

__all__ = ["Drop", "Hub", "Oversized", "Refuse", "Repo", "Stall", "WrongBytes", "point", "serve"]

LFS = (".safetensors", ".bin", ".gguf", ".parquet", ".zst", ".gz", ".zip", ".arrow")


@dataclass
class Repo:
    """One repository. `gated`: only `token` may read its files (`private`: or know of it)."""

    folder: Path
    kind: str = "model"
    gated: bool = False
    private: bool = False
    token: str = "hf_the_right_one"

    def files(self) -> list[str]:
        found = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return sorted(str(path) for path in found)

    def commit(self) -> str:
        """Forty hex digits that change with any file, as git's do."""
        digest = hashlib.sha1()
        for name in self.files():
            digest.update(f"{name}\0{self._sha256(name)}\0".encode())
        return digest.hexdigest()

    def entry(self, name: str) -> dict[str, Any]:
        """What the tree's listing says of a file."""
        content = (self.folder / name).read_bytes()
        found: dict[str, Any] = {"type": "file", "path": name, "size": len(content)}
        if name.endswith(LFS):
            sha256 = hashlib.sha256(content).hexdigest()
            found["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
            content = sha256.encode()  # git itself keeps a pointer
        found["oid"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return found

    def etag(self, name: str) -> str:
        entry = self.entry(name)
        return entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]

    def tree(self, under: str, *, recursive: bool) -> list[dict[str, Any]] | None:
        """Files and folders below `under`, or None where there is no such folder."""
        start = f"{under}/" if under else ""
        files = [name for name in self.files() if name.startswith(start)]
        if under and not files:
            return None
        parts = [name[len(start) :].split("/")[:-1] for name in files]
        deep = {"/".join(part[: end + 1]) for part in parts for end in range(len(part))}
        found = [
            {"type": "directory", "path": start + name, "size": 0, "oid": "0" * 40}
            for name in sorted(deep)
            if recursive or "/" not in name
        ]
        here = [name for name in files if recursive or "/" not in name[len(start) :]]
        return found + [self.entry(name) for name in here]

    def info(self, hub_id: str) -> dict[str, Any]:
        found = {"id": hub_id, "sha": self.commit(), "private": self.private, "tags": []}
        siblings = [{"rfilename": name} for name in self.files()]
        return found | {"gated": "manual" if self.gated else False, "siblings": siblings}

    def _sha256(self, name: str) -> str:
        return hashlib.sha256((self.folder / name).read_bytes()).hexdigest()


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str | None
    token: str | None
    status: int


@dataclass
class Hub:
    address: str
    repos: Mapping[str, Repo]
    requests: list[Request] = field(default_factory=list[Request])
    faults: dict[str, list[Fault]] = field(default_factory=dict[str, list[Fault]])

    def fail(self, name: str, fault: Fault, *, times: int = 1) -> None:
        """The next `times` downloads of the file (or API path) that ends in `name` go wrong so."""
        self.faults.setdefault(name, []).extend([fault] * times)

    def fetched(self, name: str) -> list[Request]:
        """The downloads (GET) of the files whose path ends in `name`, in order."""
        return [each for each in self.requests if each.method == "GET" and each.path.endswith(name)]

    def next_fault(self, path: str) -> Fault | None:
        for name, waiting in self.faults.items():
            if path.endswith(name) and waiting:
                return waiting.pop(0)
        return None


def point(monkeypatch: pytest.MonkeyPatch, address: str, folder: Path) -> None:
    """This process's environment: the hub at `address`, a cache in `folder`, nobody's token."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(folder / "no-token"))
    monkeypatch.setattr("phoundry.hub.receive.FIRST_WAIT", 0.01)
    monkeypatch.setattr("phoundry.hub.listing.FIRST_WAIT", 0.01)


@contextmanager
def serve(repos: Mapping[str, Repo]) -> Generator[Hub]:
    """Serve `repos` (by their ids) on a free port of this machine."""

    class Bound(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    Bound.hub = Hub(f"http://127.0.0.1:{server.server_port}", repos)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield Bound.hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._route()

    def _route(self) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path).strip("/"), parse_qs(url.query)
        for hub_id, repo in self.hub.repos.items():
            plural = "" if repo.kind == "model" else f"{repo.kind}s/"
            if path.startswith(f"{plural}{hub_id}/resolve/"):
                return self._file(repo, path.removeprefix(f"{plural}{hub_id}/resolve/"))
            api = f"api/{repo.kind}s/{hub_id}"
            if path == api or path.startswith(f"{api}/"):
                return self._api(hub_id, repo, path.removeprefix(api).strip("/"), query)
        # As the real one: who is not known is not told whether a repository is there.
        status = 404 if self._token() else 401
        return self._refused(status, "RepoNotFound", "Repository not found")

    def _api(self, hub_id: str, repo: Repo, rest: str, query: dict[str, list[str]]) -> None:
        fault = self.hub.next_fault(f"/{self.path.strip('/')}")
        if isinstance(fault, Refuse):
            return self._refused(fault.status, fault.code, "Refused by the test")
        if repo.private and self._token() != repo.token:
            return self._refused(401, "RepoNotFound", "Repository not found")
        verb, _, tail = rest.partition("/")
        revision, _, under = tail.partition("/")
        if revision and not self._known(repo, revision):
            return self._refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if verb in ("", "revision"):
            return self._json(repo.info(hub_id))
        if verb == "tree":
            recursive = query.get("recursive", [""])[0].lower() in ("1", "true")
            found = repo.tree(under, recursive=recursive)
            if found is None:
                return self._refused(404, "EntryNotFound", f"{under} does not exist")
            return self._json(found)
        if verb == "paths-info":
            return self._json([repo.entry(name) for name in self._paths() if name in repo.files()])
        return self._refused(404, "EntryNotFound", f"No such question: {rest}")

    def _paths(self) -> list[str]:
        if "json" in (self.headers.get("Content-Type") or ""):
            return list(json.loads(self._body)["paths"])
        return parse_qs(self._body.decode()).get("paths", [])

    def _file(self, repo: Repo, rest: str) -> None:
        revision, _, name = rest.partition("/")
        if (repo.gated or repo.private) and self._token() != repo.token:
            code = "GatedRepo" if repo.gated else "RepoNotFound"
            return self._refused(403 if self._token() else 401, code, "Access is restricted")
        if not self._known(repo, revision):
            return self._refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if name not in repo.files():
            return self._refused(404, "EntryNotFound", "Entry not found", commit=repo.commit())
        fault = self.hub.next_fault(self.path) if self.command == "GET" else None
        if isinstance(fault, Refuse):
            return self._refused(fault.status, fault.code, "Refused by the test")
        return self._content(repo, name, fault)

    def _content(self, repo: Repo, name: str, fault: Fault | None) -> None:
        whole = (repo.folder / name).read_bytes()
        start = _start(self.headers.get("Range"))
        if start >= len(whole) > 0:
            return self._refused(416, "RangeNotSatisfiable", "No such range")
        body = whole[start:]
        headers = {
            "ETag": f'"{repo.etag(name)}"',
            "X-Repo-Commit": repo.commit(),
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if "lfs" in repo.entry(name):
            headers |= {"X-Linked-Size": str(len(whole)), "X-Linked-ETag": headers["ETag"]}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        said = len(body) + (fault.more if isinstance(fault, Oversized) else 0)
        self._head(206 if start else 200, headers | {"Content-Length": str(said)})
        if self.command == "HEAD":
            return None
        match fault:
            case Drop(after):
                return self._cut(body[:after])
            case Stall(after, seconds):
                self._cut(body[:after], close=False)
                time.sleep(seconds)
                self.close_connection = True
            case WrongBytes():
                self.wfile.write(bytes(each ^ 0x5A for each in body))
            case Oversized(more):
                self.wfile.write(body + b"x" * more)
            case _:
                self.wfile.write(body)
        return None

    def _cut(self, part: bytes, *, close: bool = True) -> None:
        self.wfile.write(part)
        self.wfile.flush()
        if close:
            self.close_connection = True

    def _known(self, repo: Repo, revision: str) -> bool:
        return revision in ("main", repo.commit())

    def _token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self._head(200, {"Content-Length": str(len(body)), "Content-Type": "application/json"})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refused(self, status: int, code: str, message: str, commit: str | None = None) -> None:
        body = json.dumps({"error": message}).encode()
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        headers |= {"X-Repo-Commit": commit} if commit else {}
        self._head(status, headers | {"Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        asked = Request(
            self.command,
            unquote(urlsplit(self.path).path),
            self.headers.get("Range"),
            self._token(),
            status,
        )
        self.hub.requests.append(asked)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _start(header: str | None) -> int:
    """The first byte of `Range: bytes=N-`."""
    return int(header.removeprefix("bytes=").partition("-")[0] or 0) if header else 0
