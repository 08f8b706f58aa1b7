"""What a flow that came from elsewhere cannot do by its files alone, and what its Python cannot do
to the process that runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from phoundry.flows import FlowSession, load_flow
from phoundry.flows.errors import FlowError, InvalidSource
from tests.flows.conftest import Connections, MakeFlow
from tests.flows.test_session import OpenSession, message, one_tool

PROMPT = """\
inputs:
  q: {{type: string, default: hi}}
outputs:
  o: {{type: string, reference: "${{p.output}}"}}
nodes:
- name: p
  type: prompt
  source: {{type: code, path: {path}}}
  inputs: {{q: "${{inputs.q}}"}}
{more}
"""


def prompt(make_flow: MakeFlow, path: str = "p.jinja2", text: str = "", more: str = "") -> Path:
    return make_flow({"flow.dag.yaml": PROMPT.format(path=path, more=more), "p.jinja2": text})


def test_a_source_stays_in_the_folder(make_flow: MakeFlow, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("canary")
    for path in ("../secret.txt", "x/../../secret.txt", str(secret), "file://" + str(secret)):
        with pytest.raises(InvalidSource, match="source path") as caught:
            load_flow(prompt(make_flow, path))
        assert "canary" not in str(caught.value)


def test_a_link_does_not_lead_out(make_flow: MakeFlow, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("canary")
    folder = prompt(make_flow, "link.jinja2")
    (folder / "link.jinja2").symlink_to("../secret.txt")
    with pytest.raises(InvalidSource, match="source path"):
        load_flow(folder)
    (folder / "link.jinja2").unlink()
    (folder / "link.jinja2").symlink_to("p.jinja2")  # within the folder it is a file like others
    assert load_flow(folder)() == {"o": ""}


def test_an_include_opens_itself_and_nothing_beside_it(make_flow: MakeFlow, tmp_path: Path) -> None:
    make_flow({"shared/p.txt": "shared", "secret.txt": "canary"}, ".")
    more = "additional_includes: [../shared]"
    assert load_flow(prompt(make_flow, "shared/p.txt", more=more))() == {"o": "shared"}
    with pytest.raises(InvalidSource):
        load_flow(prompt(make_flow, "shared/../secret.txt", more=more))


def test_yaml_makes_data_and_nothing_else(make_flow: MakeFlow, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    line = f"x: !!python/object/apply:os.system ['touch {mark}']\n"
    with pytest.raises(FlowError):
        load_flow(make_flow({"flow.dag.yaml": line + PROMPT.format(path="p", more="")}))
    assert not mark.exists()


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ q.__init__.__globals__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__['os'] }}",
        "{{ '{0.__class__.__mro__}'.format(q) }}",
        "{{ q | attr('__class__') }}",
        "{% set f = 'x{0.__class__}'.format %}{{ f(q) }}",
        "{% include 'p.jinja2' %}",
        "{% import 'os' as os %}{{ os }}",
    ],
)
def test_a_prompt_cannot_leave_the_sandbox(make_flow: MakeFlow, template: str) -> None:
    try:
        shown = load_flow(prompt(make_flow, text=template))()["o"]
    except FlowError:
        shown = ""
    for word in ("class", "module", "uid=", "globals", "function"):
        assert word not in shown


def test_what_a_user_types_is_no_template(make_flow: MakeFlow) -> None:
    flow = load_flow(prompt(make_flow, text="You said: {{ q }}"))
    assert flow(q="{{ 7 * 7 }}{% raw %}") == {"o": "You said: {{ 7 * 7 }}{% raw %}"}


def test_a_tool_that_writes_into_our_pipe_is_ended(
    make_flow: MakeFlow, open_session: OpenSession
) -> None:
    body = (
        "for fd in range(3, 12):\n"
        "    try: os.write(fd, q.encode() + b'\\n')\n"
        "    except OSError: pass\n"
        "time.sleep(0.2)\nreturn q"
    )
    session = open_session(one_tool(make_flow, body), timeout=60)
    for junk in ("junk", "[" * 100_000, "[]", "{}", '{"event": "result"}', '{"event": "failed"}'):
        assert "SIGKILL" in message(session.run({"q": junk}))


def test_without_a_limit_of_ones_own_the_machines_memory_is_one(
    make_flow: MakeFlow, open_session: OpenSession
) -> None:
    body = "import resource\nreturn list(resource.getrlimit(resource.RLIMIT_AS))"
    session = open_session(one_tool(make_flow, body))
    limits = (session.run({}).output or {})["o"]
    assert limits == [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")] * 2


def test_loading_runs_nothing_of_the_users(make_flow: MakeFlow, tmp_path: Path) -> None:
    """The session's host only reads the files: their code runs in the child."""
    folder = one_tool(make_flow, "return os.getpid()", before="open('ran', 'w').write('x')")
    with FlowSession(folder, connections=Connections()) as session:
        assert not (folder / "ran").exists()
        pid = (session.run({}).output or {})["o"]
    assert pid != os.getpid()
    assert (folder / "ran").exists()
