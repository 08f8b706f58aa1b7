"""The process of a session: what its code prints, how it ends, what it must not see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from phoundry.flows import FlowSession
from phoundry.specs.flow import FlowResult
from tests.flows.conftest import Connections, MakeFlow, custom

CANARY = "canary-5b1e9c"
OpenSession = Callable[..., FlowSession]
YAML = """\
inputs:
  q: {type: string, default: hi}
outputs:
  o: {type: object, reference: "${n.output}"}
nodes:
- name: n
  type: python
  source: {type: code, path: t.py}
  inputs: {q: "${inputs.q}"}
"""
HEAD = "import os, sys, time\nfrom promptflow import tool\n"


def one_tool(make_flow: MakeFlow, body: str, before: str = "", takes: str = "q") -> Path:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    tool = f"{HEAD}{before}\n@tool\ndef t({takes}):\n{lines}"
    return make_flow({"flow.dag.yaml": YAML, "t.py": tool})


def message(result: FlowResult) -> str:
    assert result.status == "Failed"
    assert result.error is not None
    return str(result.error["message"])


def test_prints_and_reads_do_not_disturb_the_protocol(
    make_flow: MakeFlow, open_session: OpenSession
) -> None:
    body = (
        "print('{\"event\": \"result\"}')\nsys.stdout.flush()\nos.write(1, b'raw\\n')\n"
        "os.system('echo child')\nsys.stderr.write('err\\n')\n"
        "return [q, sys.stdin.read(), os.getcwd()]"
    )
    folder = one_tool(make_flow, body, before="print('at import')")
    session = open_session(folder)
    assert session.run({"q": "é\n✓"}).output == {"o": ["é\n✓", "", str(folder)]}
    log = session.log()
    for text in ("at import", '{"event": "result"}', "raw", "child", "err"):
        assert text in log


def test_a_warm_session_serves_many_runs_in_one_process(
    make_flow: MakeFlow, open_session: OpenSession
) -> None:
    body = "global count\ncount += 1\nreturn [count, os.getpid()]"
    session = open_session(one_tool(make_flow, body, before="count = 0"))
    outputs = [session.run({}).output for _ in range(3)]
    assert [output["o"][0] for output in outputs if output] == [1, 2, 3]
    assert len({output["o"][1] for output in outputs if output} - {os.getpid()}) == 1


def test_a_process_that_ends_is_reported_and_replaced(
    make_flow: MakeFlow, open_session: OpenSession
) -> None:
    body = (
        f"print('last words {CANARY}')\nif q == 'die': os._exit(7)\n"
        "if q == 'kill': os.kill(os.getpid(), 9)\nreturn c.key and q"
    )
    tool = "from promptflow.connections import CustomConnection"
    folder = one_tool(make_flow, body, before=tool, takes="q, c: CustomConnection")
    session = open_session(folder, custom("mine", key=CANARY))
    died = session.run({"q": "die"})
    assert message(died) == "The process that runs the flow ended with exit code 7."
    assert died.error is not None
    assert died.error["codes"] == ["UserError", "ProcessCrashError"]
    assert "last words ***" in died.error["remedy"]
    assert "SIGKILL" in message(session.run({"q": "kill"}))
    assert session.run({"q": "fine"}).output == {"o": "fine"}


def test_a_tool_that_hangs_is_ended_with_all_it_started(
    make_flow: MakeFlow, open_session: OpenSession
) -> None:
    body = (
        "import subprocess\nif q == 'wait':\n"
        "    child = subprocess.Popen(['sleep', '600'])\n    print(child.pid, flush=True)\n"
        "    open('pid', 'w').write(str(child.pid))\n    time.sleep(600)\nreturn q"
    )
    folder = one_tool(make_flow, body)
    session = open_session(folder, timeout=30)
    session.run({"q": "warm"})
    session.timeout = 4  # in which the tool gets as far as to start something
    hung = session.run({"q": "wait"})
    assert "did not finish within 4 seconds" in message(hung)
    assert hung.error is not None
    assert hung.error["code"] == "LineExecutionTimeoutError"
    assert ends(int((folder / "pid").read_text()))
    session.timeout = 30
    assert session.run({"q": "again"}).output == {"o": "again"}


def test_a_tool_that_exits_is_a_failed_node(make_flow: MakeFlow, open_session: OpenSession) -> None:
    session = open_session(one_tool(make_flow, "sys.exit('enough')"))
    result = session.run({})
    assert message(result) == "Execution failure in 'n': (SystemExit) enough"
    assert result.nodes == {"n": "Failed"}


def test_memory_is_limited(make_flow: MakeFlow, open_session: OpenSession) -> None:
    body = "return len(bytearray(int(q)))"
    session = open_session(one_tool(make_flow, body), memory_limit=2_000_000_000)
    assert "MemoryError" in message(session.run({"q": "8000000000"}))
    assert session.run({"q": "1000"}).output == {"o": 1000}


def test_secrets_are_in_no_argument_variable_or_message(
    make_flow: MakeFlow, open_session: OpenSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOUNDRY_TOKEN", "token-of-the-control-plane")
    body = (
        "seen = [open('/proc/self/cmdline').read(), dict(os.environ)]\n"
        "print('printed', c.key)\nif q == 'raise': raise ValueError('bad key ' + c.key)\n"
        "return [c.key in str(seen), 'token-of-the' in str(seen)]"
    )
    tool = "from promptflow.connections import CustomConnection"
    folder = one_tool(make_flow, body, before=tool, takes="q, c: CustomConnection")
    session = open_session(folder, custom("mine", key=CANARY))
    assert session.run({}).output == {"o": [False, False]}
    raised = session.run({"q": "raise"})
    assert message(raised) == "Execution failure in 'n': (ValueError) bad key ***"
    assert CANARY not in str(raised.model_dump())
    assert "printed ***" in session.log()
    assert not list(folder.rglob("__pycache__"))


def test_a_flow_that_does_not_import_is_a_result(
    make_flow: MakeFlow, open_session: OpenSession
) -> None:
    session = open_session(one_tool(make_flow, "return 1", before="import no_such_package_here"))
    result = session.run({})
    assert result.error is not None
    assert result.error["codes"][-1] == "PythonLoadError"
    assert "No module named 'no_such_package_here'" in message(result)
    info = result.error["additionalInfo"][0]["info"]
    assert (info["type"], info["lineno"]) == ("ModuleNotFoundError", 3)


def test_the_process_ends_with_its_parent(make_flow: MakeFlow) -> None:
    folder = one_tool(make_flow, "open('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)")
    program = (
        "import sys\nfrom phoundry.flows import FlowSession\n"
        "class None_:\n    def list(self): return []\n"
        "FlowSession(sys.argv[1], connections=None_()).run({})\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(folder)])
    pid = appears(folder / "pid")
    parent.kill()
    parent.wait()
    assert ends(pid)


def ends(pid: int) -> bool:
    """Whether the process ends: it may be a moment until the system has taken it down."""
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        time.sleep(0.02)
    return not psutil.pid_exists(pid)


def appears(path: Path) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()):
            return int(text)
        time.sleep(0.02)
    raise AssertionError(f"{path} did not appear")


def test_an_interrupted_run_leaves_no_process(make_flow: MakeFlow) -> None:
    """Ctrl-C reaches the parent alone; it ends the child and goes on up."""
    # A shell without job control starts what it puts into the background with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    main = threading.main_thread().ident
    assert main is not None
    folder = one_tool(make_flow, "open('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)")
    with FlowSession(folder, connections=Connections()) as session:
        watcher = threading.Thread(
            target=lambda: (appears(folder / "pid"), signal.pthread_kill(main, signal.SIGINT))
        )
        watcher.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                session.run({})
        finally:
            signal.signal(signal.SIGINT, before)
        watcher.join()
        assert not psutil.pid_exists(int((folder / "pid").read_text()))


def test_a_generator_streams_and_a_value_comes_in_one_piece(
    make_flow: MakeFlow, open_session: OpenSession
) -> None:
    session = open_session(one_tool(make_flow, "yield 'a'\nyield q\nyield 3"))
    *pieces, result = session.stream({"q": "b"})
    assert pieces == ["a", "b", "3"]
    assert isinstance(result, FlowResult)
    assert result.output == {"o": "ab3"}


def test_a_stream_that_is_left_does_not_speak_into_the_next(
    make_flow: MakeFlow, open_session: OpenSession
) -> None:
    session = open_session(one_tool(make_flow, "for i in range(1000):\n    yield f'{q}{i} '"))
    stream = session.stream({"q": "old"})
    assert next(stream) == "old0 "
    stream.close()  # type: ignore[attr-defined]
    *pieces, _ = session.stream({"q": "new"})
    assert all(str(piece).startswith("new") for piece in pieces)
    assert len(pieces) == 1000


def test_what_a_run_recorded_is_handed_over_without_secrets(
    make_flow: MakeFlow, open_session: OpenSession
) -> None:
    kept: list[list[dict[str, object]]] = []
    tool = "from promptflow.connections import CustomConnection"
    body = "return {'leak': c.key, 'object': 'x' * 19_950 + str(c.key), 'answer': q}"
    folder = one_tool(make_flow, body, before=tool, takes="q, c: CustomConnection")
    session = open_session(folder, custom("mine", key=CANARY), keep=kept.append)
    session.run({"q": "x" * 100_000})
    ((node, flow),) = kept
    assert (node["kind"], node["parent"], flow["kind"]) == ("node", flow["id"], "flow")
    assert CANARY not in str(kept)
    assert CANARY[:6] not in str(kept)  # nor a part of it, where a text was cut
    assert '"leak": "***"' in str(kept)
    assert len(str(kept)) < 100_000
