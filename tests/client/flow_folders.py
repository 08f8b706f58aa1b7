"""Small flow folders for the tests of client and command line."""

from __future__ import annotations

from pathlib import Path

TOOL = """
from promptflow.core import tool
from promptflow.connections import CustomConnection

@tool
def ask(question: str, connection: CustomConnection) -> str:
    return f"{question} -> {connection.endpoint} as {connection.key}"
"""
ASKING = """
inputs:
  question: {type: string, default: Hi}
outputs:
  answer: {type: string, reference: "${ask.output}"}
nodes:
- name: ask
  type: python
  source: {type: code, path: ask.py}
  inputs: {question: "${inputs.question}"}
"""
ECHO = """
inputs:
  question: {type: string}
  chat_history: {type: list, default: []}
outputs:
  answer: {type: string, reference: "${echo.output}"}
nodes:
- name: echo
  type: python
  source: {type: code, path: echo.py}
  inputs: {question: "${inputs.question}", history: "${inputs.chat_history}"}
"""
ECHO_TOOL = """
from promptflow.core import tool

@tool
def echo(question: str, history: list) -> str:
    if question == "fail":
        raise ValueError("asked to fail")
    return f"{len(history)}: {question}"
"""

SLEEPING_TOOL = """
import os
import time
from pathlib import Path

from promptflow.core import tool

@tool
def echo(question: str, history: list) -> str:
    if question == "sleep":
        Path(__file__).with_name("pid").write_text(str(os.getpid()))
        time.sleep(60)
    return f"awake: {question}"
"""


def asking_flow(folder: Path) -> Path:
    """A flow whose tool takes a connection that the file does not name."""
    return _write(folder, ASKING, "ask.py", TOOL)


def echo_flow(folder: Path) -> Path:
    """A chat flow that needs no connection: it answers `TURN: question`."""
    return _write(folder, ECHO, "echo.py", ECHO_TOOL)


def sleeping_flow(folder: Path) -> Path:
    """As `echo_flow`, but asked to `sleep` it writes its process id to `pid` and sleeps."""
    return _write(folder, ECHO, "echo.py", SLEEPING_TOOL)


def _write(folder: Path, flow: str, name: str, tool: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "flow.dag.yaml").write_text(flow)
    (folder / name).write_text(tool)
    return folder
