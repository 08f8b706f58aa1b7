"""Defaults of a deployment, through a replica process and both dialects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from phoundry.compute import workers
from phoundry.errors import InvalidInput
from phoundry.files import read_json
from phoundry.serving.replica import chat as dialect
from phoundry.serving.replica import score as azure
from phoundry.serving.replica.defaults import live_defaults
from phoundry.specs.deployment import GenerationDefaults
from tests.serving.conftest import StartReplica, chat, score
from tests.serving.processes import Worker, replica_spec, spawn

ALL = {
    "system_prompt": "Be brief.",
    "temperature": 0.7,
    "top_p": 0.5,
    "max_tokens": 9,
    "stop": ["###"],
}
DEFAULTS = GenerationDefaults.model_validate(ALL)


@pytest.fixture(scope="module")
def briefed(start_replica: StartReplica) -> Worker:
    """Echoes the whole prompt, so that its answer shows what was put into it."""
    return start_replica(defaults={"system_prompt": "Say pong.", "stop": ["pong"]})


def _client(worker: Worker) -> OpenAI:
    http = httpx.Client(timeout=60, trust_env=False)
    return OpenAI(base_url=f"{worker.url}/v1", api_key="replica-token", http_client=http)


def _say(worker: Worker, messages: list[Any], **members: Any) -> str:
    reply = _client(worker).chat.completions.create(model="m", messages=messages, **members)
    return reply.choices[0].message.content or ""


def test_the_system_prompt_comes_first_unless_there_is_one(briefed: Worker) -> None:
    question = {"role": "user", "content": "ping"}
    assert _say(briefed, [question], stop=[]).index("Say pong.") == 7  # after "system\n"
    own = [{"role": "system", "content": "Say pang."}, question]
    assert "pong" not in _say(briefed, own)
    late = [question, {"role": "developer", "content": "Say pang."}]
    assert "pong" not in _say(briefed, late)


def test_default_stops_end_an_answer_and_the_requests_own_win(briefed: Worker) -> None:
    question = [{"role": "user", "content": "pong"}]
    assert _say(briefed, question).endswith("Say ")
    assert _say(briefed, question, stop="Say").strip() == "system"
    assert _say(briefed, question, stop=[]).count("pong") == 2


def test_the_azure_dialect_has_the_same_defaults(briefed: Worker) -> None:
    headers = {"Authorization": "Bearer replica-token"}
    with httpx.Client(headers=headers, timeout=60, trust_env=False) as client:
        url = f"{briefed.url}/score"
        answer = client.post(url, json=score("ping")).json()["output"]
        assert answer.endswith("Say ")
        answer = client.post(url, json=score("ping", stop=[])).json()["output"]
        assert "Say pong." in answer


def test_a_change_holds_from_the_next_request_on(start_replica: StartReplica) -> None:
    worker = start_replica(defaults={"max_tokens": 2})
    question = [{"role": "user", "content": "one two three"}]
    before = _say(worker, question)
    pid = read_json(worker.run_dir / "ready.json")["pid"]
    assert workers.amend(worker.run_dir, defaults={"max_tokens": 3})
    assert not workers.amend(worker.run_dir, defaults={"max_tokens": 3})
    after = _say(worker, question)
    assert after.startswith(before)
    assert len(after) > len(before)
    assert worker.process.pid == pid
    assert worker.process.poll() is None
    assert (worker.run_dir / "spec.json").stat().st_mode & 0o777 == 0o600


def test_both_dialects_fill_in_what_is_not_said() -> None:
    asked = dialect.read(chat("Hi"), DEFAULTS).ask
    of_azure = azure.read(score("Hi"), DEFAULTS).ask
    for ask in (asked, of_azure):
        assert [message["role"] for message in ask.messages] == ["system", "user"]
        assert (ask.sampling.temperature, ask.sampling.top_p) == (0.7, 0.5)
        assert (ask.max_tokens, ask.stop) == (9, ("###",))


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_what_openais_request_says_wins(name: str) -> None:
    own = {"temperature": 0, "top_p": 1, "stop": [], name: 3}
    ask = dialect.read(chat("Hi", **own), DEFAULTS).ask
    assert (ask.sampling.temperature, ask.sampling.top_p) == (0.0, 1.0)
    assert (ask.max_tokens, ask.stop) == (3, ())


def test_what_azures_request_says_wins() -> None:
    own = {"temperature": 0, "top_p": 1, "stop": [], "max_new_tokens": 3}
    ask = azure.read(score("Hi", **own), DEFAULTS).ask
    assert (ask.sampling.temperature, ask.sampling.top_p) == (0.0, 1.0)
    assert (ask.max_tokens, ask.stop) == (3, ())


def test_null_is_not_said() -> None:
    ask = dialect.read(chat("Hi", temperature=None, stop=None, max_tokens=None), DEFAULTS).ask
    assert (ask.sampling.temperature, ask.max_tokens, ask.stop) == (0.7, 9, ("###",))


@pytest.mark.parametrize(
    ("default", "parameters", "expected"),
    [
        (0.7, {}, 0.7),
        (0.7, {"do_sample": False}, 0.0),
        (0.7, {"do_sample": True}, 0.7),
        (0.0, {"do_sample": True}, 1.0),
        (None, {"do_sample": True}, 1.0),
        (0.7, {"do_sample": True, "temperature": 0.2}, 0.2),
    ],
)
def test_do_sample_with_a_default_temperature(
    default: float | None, parameters: dict[str, Any], expected: float
) -> None:
    defaults = GenerationDefaults(temperature=default)
    ask = azure.read(score("Hi", **parameters), defaults).ask
    assert ask.sampling.temperature == expected


@pytest.mark.parametrize(
    "defaults", [{"max_tokens": 257}, {"system_prompt": "word " * 300}], ids=["answer", "prompt"]
)
def test_defaults_that_leave_no_room_end_the_start(
    tmp_path: Path, tokenizer_dir: Path, defaults: dict[str, Any]
) -> None:
    spec = replica_spec(tokenizer_dir, defaults=defaults)
    worker = spawn("phoundry.serving.replica", tmp_path / "run", spec)
    assert worker.process.wait(60) == 1
    error = read_json(worker.run_dir / "result.json")["error"]
    assert error["code"] == "InvalidInput"
    assert "256 tokens" in error["message"]
    assert "larger context_length" in error["remedy"]


def test_a_file_that_cannot_be_read_leaves_the_defaults_before(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({"defaults": ALL}))
    live = live_defaults(file)
    assert live() == DEFAULTS
    file.write_text("{")
    assert live() == DEFAULTS
    file.write_text(json.dumps({"defaults": {"temperature": 9}}))
    assert live() == DEFAULTS
    file.write_text("{}")
    assert live() == GenerationDefaults()
    file.unlink()
    assert live() == GenerationDefaults()


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": 2.1},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"max_tokens": 0},
        {"stop": [""]},
        {"stop": list("abcde")},
        {"typo": 1},
    ],
)
def test_what_is_out_of_range_is_no_default(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        GenerationDefaults.model_validate(wrong)


def test_a_bad_request_is_still_named_by_its_own_parameter() -> None:
    with pytest.raises(InvalidInput, match="temperature"):
        dialect.read(chat("Hi", temperature=3), DEFAULTS)
