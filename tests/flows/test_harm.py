"""Tools that fork, that leave processes behind, that print and return what nothing can show."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from phoundry.flows import load_flow
from phoundry.flows.prepare import Connections
from phoundry.flows.session.pool import SessionPool
from phoundry.flows.session.printing import HELD, KEPT, Pieces
from phoundry.flows.session.redact import redact
from phoundry.flows.session.result import LineResult
from tests.flows.conftest import MakeFlow, custom
from tests.flows.test_session import OpenSession, appears, ends, message, one_tool

CANARY = "Canary-5c1f7e6a9b3d2480Zq"
VALUES = {"name": "k", "type": "custom", "configs": {}, "secrets": {"key": CANARY}}


def run(folder: Path, questions: Iterable[Any], **options: Any) -> list[LineResult]:
    with SessionPool(load_flow(folder), timeout=20, **options) as pool:
        found = dict(pool.run_lines((n, {"q": q}) for n, q in enumerate(questions)))
    return [found[number] for number in sorted(found)]


def outputs(lines: Iterable[LineResult]) -> list[Any]:
    return [(line.result["output"] or {}).get("o") for line in lines]


def test_a_tool_that_forks_does_not_answer_for_the_next_run(
    make_flow: MakeFlow, open_session: OpenSession
) -> None:
    session = open_session(one_tool(make_flow, "if q == 'fork': os.fork()\nreturn q"))
    asked = ["a", "fork", "b", "c", "d"]
    assert [session.run({"q": q}).output for q in asked] == [{"o": q} for q in asked]


def test_a_fork_that_outlives_its_process_holds_nobody_up(
    make_flow: MakeFlow, open_session: OpenSession
) -> None:
    body = "if q == 'die' and os.fork(): os._exit(3)\nif q == 'die': time.sleep(600)\nreturn q"
    folder = one_tool(make_flow, body)
    begun = time.monotonic()
    assert "exit code 3" in message(open_session(folder).run({"q": "die"}))
    lines = run(folder, ["a", "die", "b"])
    assert outputs(lines) == ["a", None, "b"]
    assert "exit code 3" in lines[1].result["error"]["message"]  # and not that it took too long
    assert time.monotonic() - begun < 300  # the forks sleep twice as long


STARTS = "child = subprocess.Popen(['sleep', '600'])\nopen('pid', 'w').write(str(child.pid))\n"


def test_what_a_tool_started_ends_with_a_process_that_exits(
    make_flow: MakeFlow, open_session: OpenSession
) -> None:
    folder = one_tool(make_flow, f"{STARTS}os._exit(4)", before="import subprocess")
    assert "exit code 4" in message(open_session(folder).run({}))
    assert ends(int((folder / "pid").read_text()))


def test_what_a_tool_started_ends_when_the_parent_is_killed(make_flow: MakeFlow) -> None:
    folder = one_tool(make_flow, f"{STARTS}time.sleep(600)", before="import subprocess")
    program = (
        "import sys\nfrom phoundry.flows import load_flow\n"
        "from phoundry.flows.session.pool import SessionPool\n"
        "with SessionPool(load_flow(sys.argv[1])) as pool:\n"
        "    list(pool.run_lines([(0, {'q': 'x'})]))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(folder)])
    pid = appears(folder / "pid")
    parent.kill()
    parent.wait()
    assert ends(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own signal")
def test_a_tool_that_holds_pythons_lock_ends_with_the_parent(make_flow: MakeFlow) -> None:
    body = "open('pid', 'w').write(str(os.getpid()))\nre.match('(a+)+b', 'a' * 60)"
    folder = one_tool(make_flow, body, before="import re")
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from phoundry.flows.session.alone import run_alone\nrun_alone(Path(sys.argv[1]), {})\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(folder)])
    pid = appears(folder / "pid")
    parent.kill()
    parent.wait()
    assert ends(pid)


def test_lines_that_ran_side_by_side_in_the_only_process_run_again(make_flow: MakeFlow) -> None:
    """Nothing is left to hand out when it dies: they alone are worth another process."""
    body = "time.sleep(0.3 if q == 'die' else 1.5)\nif q == 'die': os._exit(3)\nreturn q"
    lines = run(one_tool(make_flow, body), ["a", "die"], workers=4)
    assert outputs(lines) == ["a", None]
    assert "exit code 3" in lines[1].result["error"]["message"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "body",
    [
        "return 10 ** 5000",
        "raise KeyboardInterrupt('stop')",
        "v = []\nfor _ in range(3000): v = [v]\nreturn v",
    ],
)
def test_a_line_that_gives_what_nothing_can_write_fails_alone(
    make_flow: MakeFlow, workers: int, body: str
) -> None:
    harm = "".join(f"    {line}\n" for line in body.splitlines())
    folder = one_tool(make_flow, f"if q == 'bad':\n{harm}return q")
    lines = run(folder, ["a", "bad", "b"], workers=workers, traced=True)
    assert outputs(lines) == ["a", None, "b"]
    assert lines[1].failed
    # It failed of itself: nobody had to wait until its time was over.
    assert "LineExecutionTimeoutError" not in lines[1].result["error"]["codes"]


def test_a_short_timeout_is_for_lines_alone(make_flow: MakeFlow) -> None:
    folder = one_tool(make_flow, "return q", before="time.sleep(3.5)")
    with SessionPool(load_flow(folder), timeout=3) as pool:
        assert outputs(line for _, line in pool.run_lines([(0, {"q": "a"})])) == ["a"]


def test_no_part_of_a_secret_is_left_where_texts_are_cut(make_flow: MakeFlow) -> None:
    body = f"print({CANARY!r} * 3000)\nif q == 'die': os._exit(3)\nreturn q"
    lines = run(
        one_tool(make_flow, body), ["a", "die"], connections=Connections(values={"k": VALUES})
    )
    error = lines[1].result["error"]
    assert "exit code 3" in error["message"]
    for text in (lines[0].printed, error["remedy"]):
        assert "***" in text
        assert not set(text.removeprefix("The last it printed:\n")) - set("*…\n")


def test_what_is_held_of_prints_is_bounded() -> None:
    pieces = Pieces([CANARY])
    for _ in range(100):
        pieces.append("0123456789" * 1000)
        pieces.append(CANARY[:9])
        pieces.append(CANARY[9:])
    held = vars(pieces)["_size"]
    text = pieces.text()
    assert held <= 2 * HELD + 10_000
    assert len(text) <= KEPT + 1
    assert text.startswith("…")
    assert text.endswith("***")
    assert Pieces().text() == ""


def test_a_stream_that_is_given_bytes_refuses_them_as_pythons_own(make_flow: MakeFlow) -> None:
    body = "try:\n    sys.stdout.write(b'x')\nexcept TypeError:\n    print('text')\nreturn q"
    (line,) = run(one_tool(make_flow, body), ["a"])
    assert (outputs([line]), line.printed) == (["a"], "text\n")


def test_a_secret_of_digits_leaves_the_record_of_a_line_whole(make_flow: MakeFlow) -> None:
    """Times are numbers in a text of JSON; nothing is hidden in those."""
    secret = str(time.time_ns())[:4]
    values = {"name": "k", "type": "custom", "configs": {}, "secrets": {"key": secret}}
    connections = Connections(values={"k": values})
    (line,) = run(one_tool(make_flow, "return q"), [secret], connections=connections, traced=True)
    assert '"start": ' + secret in line.spans
    assert '"q": "***"' in line.spans


def test_a_secret_that_is_a_key_is_hidden() -> None:
    assert redact({"a": {CANARY: 1}}, [CANARY]) == {"a": {"***": 1}}


def test_a_log_that_grows_begins_anew(make_flow: MakeFlow, open_session: OpenSession) -> None:
    session = open_session(
        one_tool(make_flow, "print('x' * 600_000)\nprint(q)\nreturn q"), custom("k")
    )
    for q in ("one", "two", "three"):
        assert session.run({"q": q}).output == {"o": q}
    assert len(session.log()) < 1_300_000
    assert "three" in session.log()
