from __future__ import annotations

import asyncio
import base64
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from phoundry.serving.flow import app as application
from phoundry.serving.flow import pages
from phoundry.serving.flow.hosted import Hosted
from tests.serving.flow.inside import FLOWS, Site, hosting, visit

STREAM = "text/event-stream"
KEY = "a-key-of-this-test-alone"


def events(text: str) -> list[Any]:
    return [json.loads(part.removeprefix("data: ")) for part in text.split("\n\n") if part]


def test_a_tool_that_exits_is_an_error_of_its_request_alone(echo: Hosted) -> None:
    async def both(site: Site) -> Any:
        return await site.score({"question": "leave"}), await site.score({"question": "hi"})

    failed, fine = visit(echo, both)
    assert failed.status == 400
    assert "SystemExit" in failed.json()["error"]["message"]
    assert fine.json() == {"answer": "You said hi"}


def test_what_breaks_off_ends_its_stream_with_an_error(echo: Hosted) -> None:
    answer = visit(echo, lambda site: site.score({"question": "break"}, accept=STREAM))
    first, last = events(answer.text)
    assert first == {"answer": "a"}
    assert last["error"]["code"] == "UserError"
    assert "broken off" in last["error"]["message"]


def test_a_failure_before_any_piece_is_an_error_with_its_status(echo: Hosted) -> None:
    answer = visit(echo, lambda site: site.score({"question": "raise"}, accept=STREAM))
    assert answer.status == 400
    assert answer.json()["error"]["message"].endswith("(ValueError) no")


def test_a_request_that_hangs_is_answered_and_others_go_on(echo: Hosted) -> None:
    stuck = threading.Event()

    async def ask(site: Site) -> Any:
        hangs = asyncio.ensure_future(site.score({"question": "hang"}))
        fine = await site.score({"question": "hi"})
        site.pool._timeout = 0.3  # pyright: ignore[reportPrivateUsage]  # now the other's is over
        return await hangs, fine

    try:
        hung, fine = visit(echo, ask, threads=2, on_stuck=stuck.set)
    finally:
        _say_module().GO_ON.set()
    assert hung.status == 408
    assert hung.json()["error"]["innerError"] == {"code": "LineExecutionTimeoutError"}
    assert fine.status == 200
    assert stuck.is_set()  # one of two threads is lost


def _say_module() -> Any:
    import gc
    import types

    file = str(FLOWS / "echo" / "say.py")
    modules = [it for it in gc.get_objects() if isinstance(it, types.ModuleType)]
    return next(it for it in modules if getattr(it, "__file__", None) == file)


def test_a_client_that_leaves_ends_the_flow_at_its_next_piece(echo: Hosted) -> None:
    begun, go_on, told = threading.Event(), threading.Event(), threading.Event()

    def line(inputs: Any, *, number: Any, stream_outputs: Any) -> Any:
        on_piece = stream_outputs["answer"]
        on_piece("a")
        begun.set()
        go_on.wait(60)
        try:
            on_piece("b")
        finally:
            told.set()

    class Runner:
        def __init__(self) -> None:
            self.line = line

    async def leave(site: Site) -> None:
        left = asyncio.Event()
        headers = {"accept": STREAM}
        asking = asyncio.ensure_future(site.ask("/score", '{"question": "x"}', headers, left=left))
        while not begun.is_set():
            await asyncio.sleep(0.005)
        left.set()
        await asking
        go_on.set()
        while site.pool.running:
            await asyncio.sleep(0.005)

    hosted = Hosted(echo.flow, Runner(), echo.roles, frozenset())  # type: ignore[arg-type]
    visit(hosted, leave)
    assert told.is_set()


def test_secrets_stand_in_no_error() -> None:
    with hosting(
        "echo",
        environment={"ECHO_KEY": "canary-4711"},
        values={"c": {"secrets": {"key": "canary-4711"}}},
    ) as hosted:
        answer = visit(hosted, lambda site: site.score({"question": "key"}))
    assert "the key is ***" in answer.json()["error"]["message"]
    assert "canary" not in answer.text


@pytest.mark.parametrize("path", ["/", "/score", "/version", "/swagger.json", "/page.json"])
def test_with_a_key_every_address_but_health_asks_for_it(chat: Hosted, path: str) -> None:
    basic = base64.b64encode(f"me:{KEY}".encode()).decode()
    wrong = base64.b64encode(b"me:another").decode()

    async def ask(site: Site) -> list[int]:
        body = '{"question": "x"}' if path == "/score" else None
        tried = [{}, {"authorization": "Bearer another"}, {"authorization": f"Basic {wrong}"}]
        tried += [{"authorization": "Basic !"}, {"authorization": f"Bearer {KEY}"}]
        tried += [{"authorization": f"Basic {basic}"}]
        statuses = [(await site.ask(path, body, headers)).status for headers in tried]
        return [*statuses, (await site.ask("/health")).status]

    assert visit(chat, ask, key=KEY) == [401, 401, 401, 401, 200, 200, 200]


def test_pages_of_other_sites_are_refused(chat: Hosted) -> None:
    async def ask(site: Site, **headers: str) -> int:
        return (await site.ask("/score", '{"question": "x"}', headers)).status

    foreign = {"origin": "https://evil.example"}
    assert visit(chat, lambda site: ask(site, **foreign)) == 403
    assert visit(chat, lambda site: ask(site, host="evil.example")) == 403
    assert visit(chat, lambda site: ask(site, origin="http://localhost:8080")) == 200
    carried = {"authorization": f"Bearer {KEY}", "host": "flows.example"}
    assert visit(chat, lambda site: ask(site, **carried, **foreign), key=KEY) == 403
    own = {"origin": "https://flows.example"}
    assert visit(chat, lambda site: ask(site, **carried, **own), key=KEY) == 200


def test_bodies_have_a_limit(echo: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "BODY_LIMIT", 100)
    assert visit(echo, lambda site: site.score({"question": "x" * 100})).status == 413


def test_forms_of_several_parts_are_refused(echo: Hosted) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = visit(echo, lambda site: site.ask("/score", b"--x", headers))
    assert answer.status == 415
    assert "application/json" in answer.json()["error"]["message"]


def test_other_methods_and_addresses(echo: Hosted) -> None:
    async def ask(site: Site) -> list[int]:
        found = [await site.ask("/score", method="GET"), await site.ask("/nothing")]
        found += [await site.ask("/health", "x"), await site.ask("/../flow.dag.yaml")]
        return [each.status for each in found]

    assert visit(echo, ask) == [405, 404, 405, 404]


def test_feedback_does_not_fill_the_disk(
    echo: Hosted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "FEEDBACK_KEPT", 100)
    file = tmp_path / "feedback.jsonl"

    async def tell(site: Site) -> list[int]:
        return [(await site.ask("/feedback", '"much"')).status for _ in range(9)]

    assert visit(echo, tell, feedback=file) == [200] * 9
    assert file.stat().st_size < 200


def test_feedback_is_kept(echo: Hosted, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "feedback.jsonl"

    async def tell(site: Site) -> None:
        await site.ask("/feedback", '{"stars": 5}', {"traceparent": "00-ab-cd-01"})
        await site.ask("/feedback", "not JSON")

    visit(echo, tell, feedback=file)
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [row["feedback"] for row in rows] == [{"stars": 5}, "not JSON"]
    assert rows[0]["traceparent"] == "00-ab-cd-01"


def test_the_page_needs_nothing_from_elsewhere(chat: Hosted) -> None:
    async def ask(site: Site) -> Any:
        scripts = [f"/{file.name}" for file in pages.FOLDER.iterdir() if file.suffix != ".html"]
        return [await site.ask(path) for path in ("/", "/page.json", *scripts)]

    page, about, *others = visit(chat, ask)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["content-type"].startswith("text/html")
    assert len(others) > 1
    for each in (page, *others):
        assert each.status == 200
        assert each.headers["content-type"].startswith("text/")
        assert "http:" not in each.text
        assert "https:" not in each.text
    assert about.json()["chat"] == {
        "input": "question",
        "output": "answer",
        "history": "chat_history",
    }
    assert "length" not in about.json()["outputs"]  # evaluation_only


def test_a_folder_of_the_users_stands_in_place_of_the_page(echo: Hosted, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<p>mine</p>")
    (tmp_path / "site" / ".hidden").write_text("no")
    (tmp_path / "secret.txt").write_text("no")
    (tmp_path / "site" / "link.txt").symlink_to(tmp_path / "secret.txt")

    async def ask(site: Site) -> list[int]:
        paths = ("/", "/../secret.txt", "/link.txt", "/.hidden", "/%2e%2e/secret.txt", "/a\0b")
        return [(await site.ask(path)).status for path in paths]

    assert visit(echo, ask, static=tmp_path / "site") == [200, 404, 404, 404, 404, 404]
