"""The report of runs, opened from its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phoundry.flows.batch.folder import Counts, Record
from phoundry.flows.batch.report.figures import Figures
from phoundry.flows.batch.report.page import page as write_page
from phoundry.flows.batch.report.table import Table
from tests.browser.conftest import Visitor

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
expect: Any = playwright.expect

LINES = 260
HOSTILE = (
    "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
)


def line(number: int) -> dict[str, Any]:
    failed = number % 50 == 7
    outputs = {"score": (number * 37 % 101) / 7, "text": HOSTILE * (1 + number % 9), "big": 2**60}
    return {
        "line_number": number,
        "status": "Failed" if failed else "Completed",
        "inputs": {"question": f"Question {number}\nof several lines"},
        "outputs": {} if failed else outputs,
        "seconds": number / 1000,
        "error": {"message": f"{HOSTILE} no"} if failed else None,
    }


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table, figures = Table(["one"]), Figures("one")
    for number in range(LINES):
        table.add(0, line(number))
        figures.add(line(number))
    record = Record(
        name="one", flow="flow.dag.yaml", status="Completed", lines=Counts(LINES, LINES - 6, 6)
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(write_page([record], [figures], table), encoding="utf-8")
    return path


def column(page: Any, name: str) -> list[str]:
    """The cells of a column, from above."""
    return page.evaluate(
        """name => {
            const table = document.getElementById("lines");
            const titles = [...table.tHead.rows[0].cells];
            const at = titles.findIndex(each => each.textContent.split(" ")[0] === name);
            return [...table.tBodies[0].rows].map(row => row.cells[at].textContent);
        }""",
        name,
    )


def test_lines_are_sorted_filtered_and_never_run(visitor: Visitor, report: Path) -> None:
    small = {"width": 360, "height": 640}
    page = visitor.open(report.as_uri(), viewport=small)
    asked: list[Any] = []

    def note(request: Any) -> None:
        asked.append(request)

    page.on("request", note)
    expect(page).to_have_title("Run one")
    assert page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == small["width"]
    assert page.locator("figure").count() == 3  # seconds, score, and the big number
    assert column(page, "line") == [str(number) for number in range(200)]
    assert set(column(page, "outputs.big")) == {str(2**60), ""}

    page.get_by_role("button", name="Show more").click()
    assert len(column(page, "line")) == LINES
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()

    title = page.get_by_role("button", name="outputs.score")
    for sign in (1, -1):
        title.click()
        shown = column(page, "outputs.score")
        assert shown[-6:] == [""] * 6  # of those that failed, either way
        numbers = [sign * float(each) for each in shown[:-6]]
        assert numbers == sorted(numbers)
    expect(page.locator("th", has_text="outputs.score")).to_have_attribute(
        "aria-sort", "descending"
    )

    page.get_by_label("only failed").check()
    assert len(column(page, "line")) == 6
    page.get_by_label("Filter").fill("question 207")
    assert column(page, "line") == ["207"]
    expect(page.get_by_role("status")).to_have_text("1 of these found.")
    page.get_by_label("only failed").uncheck()
    page.get_by_label("Filter").fill("question 8")
    more = page.get_by_role("button", name="more", exact=True).last
    text = page.locator("td div").last
    before = text.bounding_box()["height"]
    more.press("Enter")
    assert text.bounding_box()["height"] > before
    assert asked == []
