"""The page of a served flow, as somebody sees and uses it."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import DEADLINE, KEY, Site, Visitor

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
expect: Any = playwright.expect

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
GAP = "document.documentElement.scrollHeight - innerHeight - scrollY"

# Where the page is once the wheel's own movement has ended: after ten frames at one place.
AT_REST = """() => new Promise(done => {
  let last = scrollY, still = 0, frames = 0
  const look = () => {
    still = scrollY === last ? still + 1 : 0
    last = scrollY
    frames += 1
    if (still < 10 && frames < 300) requestAnimationFrame(look)
    else done(last)
  }
  requestAnimationFrame(look)
})"""


def until(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def say(page: Any, text: str) -> None:
    page.get_by_label("question").fill(text)
    page.keyboard.press("Enter")


def nameless(page: Any) -> list[str]:
    """The controls that have no label."""
    return page.evaluate(
        "() => [...document.querySelectorAll('textarea, input')]"
        ".filter(each => !each.labels.length && !each.ariaLabel).map(each => each.name)"
    )


def lose(route: Any) -> None:
    route.abort()


def answer(page: Any) -> Any:
    return page.locator(".answer").last


def test_a_chat_goes_on_and_outlives_a_reload(visitor: Visitor, talk: Site) -> None:
    page = visitor.open(talk.address)
    expect(page).to_have_title("talk")
    expect(page.get_by_label("question")).to_be_focused()
    assert nameless(page) == []
    say(page, "hi")
    expect(answer(page)).to_contain_text("0: hi")
    page.keyboard.type("two")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("lines")
    page.keyboard.press("Enter")
    expect(answer(page)).to_contain_text("1: two lines")
    expect(page.locator(".question .said").last).to_have_text("two\nlines")
    page.reload()
    expect(page.locator("article")).to_have_count(4)
    say(page, HOSTILE)
    expect(answer(page)).to_contain_text(f"2: {HOSTILE}")
    assert page.locator("article img, article script").count() == 0
    expect(page).to_have_title("talk")


def test_an_error_is_told_and_the_question_is_there_again(visitor: Visitor, talk: Site) -> None:
    page = visitor.open(talk.address)
    say(page, "raise")
    expect(page.get_by_role("alert")).to_contain_text("closed on Sundays")
    expect(page.get_by_label("question")).to_have_value("raise")
    say(page, "break")
    expect(answer(page).locator(".said")).to_have_text("half of it")
    expect(answer(page).get_by_role("alert")).to_contain_text("broken off")
    say(page, "hi")
    expect(answer(page)).to_contain_text("0: hi")  # neither is in the history
    page.route("**/score", lose)
    say(page, "hi")
    expect(answer(page).get_by_role("alert")).to_contain_text("can't be reached")
    assert "ERR_FAILED" in visitor.complaints.pop()


def test_a_stop_keeps_what_came_and_ends_the_flow(visitor: Visitor, talk: Site) -> None:
    page = visitor.open(talk.address)
    say(page, "endless")
    expect(answer(page)).to_contain_text("word3 ")
    expect(page.get_by_role("button", name="Send")).to_be_hidden()
    page.get_by_role("button", name="Stop").click()
    expect(answer(page)).to_contain_text("Stopped.")
    expect(answer(page)).to_contain_text("word3 ")
    until(lambda: talk.pool.running == 0)
    say(page, "endless")
    expect(answer(page)).to_contain_text("word3 ")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("article")).to_have_count(0)
    say(page, "hi")
    expect(answer(page)).to_contain_text("0: hi")
    until(lambda: talk.pool.running == 0)


def test_the_page_follows_an_answer_until_somebody_scrolls(visitor: Visitor, talk: Site) -> None:
    small = {"width": 360, "height": 480}
    page = visitor.open(talk.address, viewport=small, color_scheme="dark")
    say(page, "long")
    expect(answer(page)).to_contain_text("Sentence 59")
    until(lambda: page.evaluate(GAP) < 2)
    assert page.evaluate("document.documentElement.scrollWidth") == small["width"]
    form, last = page.locator("form").bounding_box(), answer(page).bounding_box()
    assert last["y"] + last["height"] <= form["y"]  # not behind the form
    assert page.evaluate("getComputedStyle(document.body.parentElement).color") == (
        "rgb(230, 232, 235)"
    )
    say(page, "endless")
    expect(answer(page)).to_contain_text("word3 ")
    page.mouse.move(100, 200)
    page.mouse.wheel(0, -600)
    until(lambda: page.evaluate(GAP) > 500)
    before = page.evaluate(AT_REST)
    come = answer(page).inner_text()
    until(lambda: len(answer(page).inner_text()) > len(come) + 400)
    assert page.evaluate("scrollY") == before
    page.keyboard.press("Escape")
    expect(answer(page)).to_contain_text("Stopped.")


def test_a_form_gives_every_input_its_kind(visitor: Visitor, fill: Site, tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(PIXEL)
    page = visitor.open(fill.address)
    run = page.get_by_role("button", name="Run")
    page.get_by_label("title").fill("Tower")
    assert nameless(page) == []
    run.click()
    expect(page.locator("article")).to_have_count(0)  # `floors` has no default
    page.get_by_label("floors").fill("3")
    page.get_by_label("tags").fill("[1")
    run.click()
    assert "no JSON" in page.get_by_label("tags").evaluate("each => each.validationMessage")
    expect(page.locator("article")).to_have_count(0)
    page.get_by_label("tags").fill('["x", 1]')
    page.get_by_label("heated").uncheck()
    page.get_by_label("photo").set_input_files(tmp_path / "p.png")
    page.get_by_label("title").press("Control+Enter")
    expect(page.locator(".said").first).to_have_text("'Tower' 3 False")
    expect(page.locator(".said img")).to_have_js_property("naturalWidth", 1)
    expect(page.locator("pre")).to_have_text('[ "x", 1 ]')
    assert page.locator("h2").all_inner_texts() == ["summary", "photo", "tags"]


def test_images_go_with_a_question_that_is_a_list(
    visitor: Visitor, talk: Site, tmp_path: Path
) -> None:
    (tmp_path / "p.png").write_bytes(PIXEL)
    item = {"name": "question", "type": "list", "default": None, "description": ""}
    chat = {"input": "question", "output": "answer", "history": None}
    about = {"name": "see", "kind": "dag", "chat": chat, "inputs": [item], "outputs": ["answer"]}

    def describe(route: Any) -> None:
        route.fulfill(json=about)

    def repeat(route: Any) -> None:
        route.fulfill(json={"answer": route.request.post_data_json["question"]})

    page = visitor.open(talk.address)
    page.route("**/page.json", describe)
    page.route("**/score", repeat)
    page.reload()
    page.get_by_label("Images").set_input_files([tmp_path / "p.png"] * 2)
    say(page, "What is this?")
    for said in page.locator(".said").all():
        expect(said.locator("div")).to_have_text("What is this?")
    expect(answer(page).locator("img")).to_have_count(2)
    expect(answer(page).locator("img").last).to_have_js_property("naturalWidth", 1)
    expect(page.get_by_label("Images")).to_have_value("")


def test_a_browser_asks_for_the_password(visitor: Visitor, locked: Site) -> None:
    assert visitor.usual.request.get(locked.address).status == 401
    credentials = {"username": "me", "password": KEY}
    page = visitor.open(locked.address, http_credentials=credentials)
    say(page, "hi")
    expect(answer(page)).to_contain_text("0: hi")
