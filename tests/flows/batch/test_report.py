"""The report: one file, nothing in it that the data could make run, figures that add up."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import unescape
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from phoundry.flows.batch.report import write_report
from phoundry.flows.batch.report.figures import BINS, MOST_PLOTS, Figures, histogram, quantile
from phoundry.flows.batch.report.table import MOST_FAILED, MOST_LINES, Table, cell
from tests.flows.batch.conftest import RunFlow

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!--"


def test_text_of_the_data_is_never_markup(run_flow: RunFlow, tmp_path: Path) -> None:
    data = tmp_path / "d.jsonl"
    data.write_text("".join(json.dumps({"n": n, "w": HOSTILE}) + "\n" for n in range(10)))
    ran = run_flow(data, mapping={"word": "${data.w}", HOSTILE: "${data.w}"})
    ran.record.display_name = HOSTILE
    ran.record.metrics[HOSTILE] = 1.0
    path = tmp_path / "report.html"
    write_report([(ran.folder, ran.record)], path)
    page = path.read_text()
    assert HOSTILE not in page
    assert "<img" not in page
    assert len(re.findall(r"<script", page)) == 2
    embedded = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert embedded
    table = json.loads(embedded[1])
    place = table["columns"].index(f"inputs.{HOSTILE}")
    assert table["rows"][0][place] == HOSTILE
    assert unescape(page).count(HOSTILE) >= 3  # title, heading, metric


def test_the_page_runs_its_own_script_and_reaches_nothing(
    run_flow: RunFlow, tmp_path: Path
) -> None:
    data = tmp_path / "d.jsonl"
    data.write_text('{"n": 1}\n{"n": 3}\n')
    ran = run_flow(data)
    path = tmp_path / "report.html"
    write_report([(ran.folder, ran.record), (ran.folder, ran.record)], path)
    page = path.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    script = re.search(r"<script>(.*?)</script>", page, re.S)
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert policy
    assert script
    assert style
    for kind, text in (("script-src", script[1]), ("style-src", style[1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none'")
    assert not re.search(r'(src|href)="', page)
    assert "http" not in page.replace("http-equiv", "")
    assert " style=" not in page  # the policy would not let it through


numbers = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=60)


@given(numbers)
def test_every_value_is_in_a_bar(values: list[float]) -> None:
    drawn = histogram("t", values)
    counts = [int(text.replace(",", "")) for text in re.findall(r": ([\d,]+)</title>", drawn)]
    assert sum(counts) == len(values)
    assert len(counts) <= BINS
    ordered = sorted(values)
    assert quantile(ordered, 1.0) == ordered[-1]
    assert sum(value <= quantile(ordered, 0.5) for value in ordered) >= len(ordered) / 2


def test_of_many_lines_the_first_and_those_that_failed() -> None:
    table = Table(["r"])
    for number in range(MOST_LINES + MOST_FAILED * 3):
        failed = number % 2 == 1
        line = {
            "line_number": number,
            "status": "Failed" if failed else "Completed",
            "inputs": {"n": number},
            "outputs": {},
            "seconds": 0.1,
            "error": {"message": "no"} if failed else None,
        }
        table.add(0, line)
    content = table.content()
    assert len(content["rows"]) == table.shown == MOST_LINES + MOST_FAILED
    assert all(row[2] == "Failed" for row in content["rows"][MOST_LINES:])
    json.dumps(content, allow_nan=False)
    assert [cell(value) for value in (float("nan"), True, None, [1])] == ["nan", "true", "", "[1]"]


def test_flows_with_many_numbers_have_plots_of_the_first() -> None:
    figures = Figures("r")
    for n in range(3):
        outputs = {f"o{place}": n for place in range(12)}
        figures.add({"seconds": 0.1, "outputs": outputs})
    assert len(figures.svgs()) == MOST_PLOTS + 1


def test_a_number_that_a_browser_would_round_is_text() -> None:
    assert [cell(value) for value in (2**53 - 1, 2**53 + 1, -(2**60))] == [
        2**53 - 1,
        str(2**53 + 1),
        str(-(2**60)),
    ]
