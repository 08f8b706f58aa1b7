"""One browser, one server of each flow, in this process."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from phoundry.serving.flow.access import Access
from phoundry.serving.flow.app import FlowApp
from phoundry.serving.flow.hosted import Hosted, opened
from phoundry.serving.flow.opening import Opening
from phoundry.serving.flow.pool import Pool
from phoundry.serving.listen import bind, port_of, run, serve

FLOWS = Path(__file__).with_name("flows")
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
KEY = "a-key-of-thirty-two-characters-x"
DEADLINE = 60.0  # seconds that no passing test needs


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium-headless-shell")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    playwright.expect.set_options(timeout=DEADLINE * 1000)
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


@pytest.fixture(scope="package")
def usual(browser: Any) -> Any:
    return browser.new_context()


@dataclass
class Visitor:
    """Opens pages, and keeps what their consoles complain of. Every page is a tab of its own, and
    knows nothing of another's conversation."""

    browser: Any
    usual: Any
    complaints: list[str] = field(default_factory=list[str])
    opened: list[Any] = field(default_factory=list[Any])

    def open(self, address: str, **options: Any) -> Any:
        context = self.browser.new_context(**options) if options else self.usual
        context.set_default_timeout(DEADLINE * 1000)
        page = context.new_page()
        self.opened.append(context if options else page)
        page.on("pageerror", self._fail)
        page.on("console", self._listen)
        page.goto(address)
        return page

    def _fail(self, error: Any) -> None:
        self.complaints.append(str(error))

    def _listen(self, message: Any) -> None:
        # An error of the flow has a status, which the browser tells of too.
        if message.type == "error" and "status of 400" not in message.text:
            self.complaints.append(message.text)


@pytest.fixture
def visitor(browser: Any, usual: Any) -> Iterator[Visitor]:
    found = Visitor(browser, usual)
    yield found
    for each in found.opened:
        each.close()
    assert found.complaints == []


@dataclass
class Site:
    """A served flow. `pool` tells what still runs."""

    address: str
    pool: Pool


@contextmanager
def site(hosted: Hosted, key: str | None = None) -> Generator[Site]:
    """`hosted` behind an address, on a thread of its own."""
    listener = bind("127.0.0.1", 0)
    begun: Future[tuple[Pool, Callable[[], object]]] = Future()

    async def main() -> None:
        told, loop = asyncio.Event(), asyncio.get_running_loop()
        pool = Pool(4, 60.0)

        async def started() -> None:
            begun.set_result((pool, lambda: loop.call_soon_threadsafe(told.set)))

        app = FlowApp(hosted, pool, Access(key))
        try:
            await serve(
                app, listener, started=started, stopping=_nothing, grace_seconds=1, told=told
            )
        finally:
            pool.close()

    thread = threading.Thread(target=lambda: run(main()))
    thread.start()
    pool, stop = begun.result(DEADLINE)
    try:
        yield Site(f"http://127.0.0.1:{port_of(listener)}/", pool)
    finally:
        stop()
        thread.join(DEADLINE)
        listener.close()


def _nothing() -> None:
    return None


@contextmanager
def hosted(name: str) -> Generator[Hosted]:
    with opened(Opening(path=str(FLOWS / name))) as found:
        yield found


@pytest.fixture(scope="package")
def talk(browser: Any) -> Iterator[Site]:
    with hosted("talk") as flow, site(flow) as served:
        yield served


@pytest.fixture(scope="package")
def locked(browser: Any) -> Iterator[Site]:
    with hosted("talk") as flow, site(flow, KEY) as served:
        yield served


@pytest.fixture(scope="package")
def fill(browser: Any) -> Iterator[Site]:
    with hosted("fill") as flow, site(flow) as served:
        yield served
