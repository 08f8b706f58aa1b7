"""A hub that means harm, and secrets that errors must not tell."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from phoundry.errors import InvalidInput, NotFound, Unavailable
from phoundry.hub.kinds import MODEL
from phoundry.hub.listing import list_files
from tests.support.hub import Repo, point, serve


class Hostile(Repo):
    """Lists what it was told to, instead of hashes."""

    lies: dict[str, str]

    def commit(self) -> str:
        return self.lies.get("commit") or super().commit()

    def entry(self, name: str) -> dict[str, Any]:
        found = super().entry(name)
        found["oid"] = self.lies.get("oid", found["oid"])
        if "sha256" in self.lies:
            found["lfs"]["oid"] = self.lies["sha256"]
        return found


@pytest.mark.parametrize("lie", ["commit", "oid", "sha256"])
@pytest.mark.parametrize("place", ["../../../../home", "..", "/etc/passwd", "abc/../../x", "x\ny"])
def test_a_hash_that_is_a_path_names_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: str, place: str
) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "model.safetensors").write_bytes(b"weights")
    repo = Hostile(tmp_path / "repo")
    repo.lies = {lie: place}
    with serve({"someone/bad": repo}) as hub:
        point(monkeypatch, hub.address, tmp_path)
        with pytest.raises(Unavailable, match="does not answer as a hub does"):
            list_files("someone/bad", MODEL)


@pytest.mark.parametrize("token", ["hf_canary\x01", "hf_canaré", "hf canary", "hf_canary\x7f"])
def test_what_cannot_be_a_token_is_neither_sent_nor_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    with serve({}) as hub:
        point(monkeypatch, hub.address, tmp_path)
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(InvalidInput, match="characters that no token has") as refused:
            list_files("someone/open", MODEL)
        assert "canar" not in str(refused.value)
        assert hub.requests == []


def test_a_password_in_the_address_is_not_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve({}) as hub:
        point(monkeypatch, hub.address.replace("://", "://me:canary@"), tmp_path)
        with pytest.raises(NotFound, match="127") as refused:
            list_files("someone/open", MODEL)
        assert "canary" not in str(refused.value)
    point(monkeypatch, "http://me:canary@127.0.0.1:9", tmp_path)
    with pytest.raises(Unavailable, match="127") as gone:
        list_files("someone/open", MODEL)
    assert "canary" not in str(gone.value)


class Portal(BaseHTTPRequestHandler):
    """What a network in a hotel says to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Please log in</html>")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_page_to_log_in_instead_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Portal)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    point(monkeypatch, f"http://127.0.0.1:{server.server_port}", tmp_path)
    try:
        with pytest.raises(Unavailable, match="does not answer as a hub does"):
            list_files("someone/open", MODEL)
    finally:
        server.shutdown()
        server.server_close()
