"""A hub of one model, as far as `huggingface_hub.snapshot_download` asks one."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve(folder: Path, hub_id: str) -> Generator[tuple[str, list[str]]]:
    """Serve `folder` as `hub_id`; yields the address and the list of files asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(head=True)

        def do_GET(self) -> None:
            self._answer(head=False)

        def _answer(self, *, head: bool) -> None:
            path = urlparse(self.path).path
            files = sorted(each for each in folder.iterdir() if each.is_file())
            if path.startswith(f"/api/models/{hub_id}/tree/"):
                tree = [
                    {"type": "file", "path": each.name, "size": each.stat().st_size, "oid": "0"}
                    for each in files
                ]
                return self._json(tree)
            if path.startswith(f"/api/models/{hub_id}"):
                names = [{"rfilename": each.name} for each in files]
                return self._json({"id": hub_id, "sha": COMMIT, "siblings": names, "tags": []})
            prefix = f"/{hub_id}/resolve/"
            name = path.removeprefix(prefix).partition("/")[2]
            if path.startswith(prefix) and (folder / name).is_file():
                asked.append(name)
                return self._send((folder / name).read_bytes(), head=head)
            return self._send(b"{}", status=404, head=head)

        def _json(self, value: object) -> None:
            self._send(json.dumps(value).encode(), head=False)

        def _send(self, body: bytes, *, head: bool, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            if not head:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
