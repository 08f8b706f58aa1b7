"""OpenAI's dialects on the fake engine, in this process, asked by the openai package."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openai
import pytest

from phoundry.data import ChatTokenizer
from phoundry.serving.engines.base import EngineSpec, Feature
from phoundry.serving.engines.fake import FakeEngine
from phoundry.serving.replica.app import ReplicaApp
from phoundry.serving.replica.generation import Generator
from phoundry.serving.replica.model import ServedModel
from phoundry.specs.deployment import GenerationDefaults

T = TypeVar("T")
ASK: Any = [{"role": "user", "content": "Who founded Microsoft?"}]
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def make_app(
    folder: Path, features: frozenset[Feature] | None = None, **options: Any
) -> ReplicaApp:
    tokenizer = ChatTokenizer.load(folder)
    ends = frozenset(tokenizer.end_token_ids)
    engine = FakeEngine(EngineSpec(1024, 2, 1, ends, tokenizer_dir=folder, options=options))
    if features is not None:
        engine.features = features
    defaults = GenerationDefaults(system_prompt="Be brief.", max_tokens=800)
    model = ServedModel(Generator(engine, tokenizer), "echo:1", lambda: defaults, "fp_1")
    app = ReplicaApp(model, token="t")
    app.ready = True
    return app


def http(app: ReplicaApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app)  # pyright: ignore[reportArgumentType]
    headers = {"Authorization": "Bearer t"}
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)


def ask(app: ReplicaApp, use: Callable[[openai.AsyncOpenAI], Awaitable[T]]) -> T:
    async def main() -> T:
        async with http(app) as client:
            made = openai.AsyncOpenAI(
                base_url="http://127.0.0.1/v1",
                api_key="t",
                http_client=client,  # pyright: ignore[reportArgumentType]
                max_retries=0,
            )
            return await use(made)

    return asyncio.run(main())


def post(app: ReplicaApp, path: str, body: Any) -> httpx.Response:
    async def main() -> httpx.Response:
        async with http(app) as client:
            # With escapes, as half a surrogate pair needs.
            return await client.post(path, content=json.dumps(body))

    return asyncio.run(main())


def get(app: ReplicaApp, path: str) -> httpx.Response:
    async def main() -> httpx.Response:
        async with http(app) as client:
            return await client.get(path)

    return asyncio.run(main())


@pytest.fixture(scope="module")
def echo(tokenizer_dir: Path) -> ReplicaApp:
    return make_app(tokenizer_dir)


@pytest.fixture(scope="module")
def hermes_dir(tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny tokenizer under a template that takes tools as Hermes' and Qwen's do."""
    folder = tmp_path_factory.mktemp("hermes")
    for file in tokenizer_dir.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "chat_template.jinja").write_text(
        "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}{% endfor %}"
        "<|im_end|>\n{% endif %}"
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
        "{% for call in message.tool_calls or [] %}<tool_call>\n"
        '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}'
        "\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return folder


# Chat: likelihoods, seed


def test_likelihoods_stand_beside_the_text(echo: ReplicaApp) -> None:
    async def use(client: openai.AsyncOpenAI) -> tuple[Any, list[Any]]:
        options: dict[str, Any] = {"logprobs": True, "top_logprobs": 1, "stop": ["Microsoft"]}
        create: Any = client.chat.completions.create
        whole = await create(model="m", messages=ASK, seed=1, **options)
        stream = await create(model="m", messages=ASK, stream=True, **options)
        return whole, [chunk async for chunk in stream]

    whole, chunks = ask(echo, use)
    choice = whole.choices[0]
    # The last token reaches into the stop string: " Microsoft" begins with the text's last space.
    tokens = [token.token for token in choice.logprobs.content]
    assert "".join(tokens) == choice.message.content + "Microsoft"
    assert all(token.top_logprobs[0].token == token.token for token in choice.logprobs.content)
    assert whole.system_fingerprint == "fp_1"
    told = [chunk.choices[0].logprobs for chunk in chunks]
    streamed = [token for found in told if found for token in found.content]
    assert [token.token for token in streamed] == [t.token for t in choice.logprobs.content]


def test_without_top_logprobs_the_chosen_token_stands_alone(echo: ReplicaApp) -> None:
    reply = post(echo, "/v1/chat/completions", {"messages": ASK, "logprobs": True}).json()
    assert all(token["top_logprobs"] == [] for token in reply["choices"][0]["logprobs"]["content"])
    plain = post(echo, "/v1/chat/completions", {"messages": ASK}).json()
    assert plain["choices"][0]["logprobs"] is None


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("chat/completions", {"messages": ASK, "logprobs": True}, "logprobs"),
        (
            "chat/completions",
            {"messages": ASK, "response_format": {"type": "json_object"}},
            "response_format",
        ),
        ("completions", {"prompt": "x", "logprobs": 2}, "logprobs"),
        ("embeddings", {"input": "x"}, "model"),
    ],
)
def test_what_the_engine_lacks_is_refused_by_name(
    tokenizer_dir: Path, path: str, body: Any, param: str
) -> None:
    app = make_app(tokenizer_dir, frozenset())
    reply = post(app, f"/v1/{path}", body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


# Completions


def test_a_completion_goes_on_from_the_prompt(echo: ReplicaApp) -> None:
    async def use(client: openai.AsyncOpenAI) -> tuple[Any, Any, list[Any]]:
        create = client.completions.create
        text = await create(model="m", prompt="Who founded", max_tokens=50, echo=True)
        ids = await create(model="m", prompt=[70, 71], max_tokens=50, logprobs=1)
        options: Any = {"stream_options": {"include_usage": True}}
        stream = await create(model="m", prompt=["Who founded"], stream=True, echo=True, **options)
        return text, ids, [chunk async for chunk in stream]

    text, ids, chunks = ask(echo, use)
    assert text.choices[0].text == "Who founded" * 2
    assert text.usage.prompt_tokens == text.usage.completion_tokens
    assert ids.usage.prompt_tokens == 2
    told = ids.choices[0].logprobs
    assert "".join(told.tokens) == ids.choices[0].text
    assert told.text_offset[0] == 0
    assert told.top_logprobs[0] == {told.tokens[0]: told.token_logprobs[0]}
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "Who founded" * 2
    assert chunks[-1].usage == text.usage


def test_a_completion_has_sixteen_tokens_unless_asked(tokenizer_dir: Path) -> None:
    app = make_app(tokenizer_dir)
    app._model = ServedModel(app._model.generator, "m")  # pyright: ignore[reportPrivateUsage]
    reply = post(app, "/v1/completions", {"prompt": "permit " * 20}).json()
    assert reply["usage"]["completion_tokens"] == 16
    assert reply["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [10**9]}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"suffix": "x"}, "suffix"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 1, "echo": True}, "logprobs"),
        ({"best_of": 2}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_completion_refuses_by_name(
    echo: ReplicaApp, changes: dict[str, Any], param: str
) -> None:
    reply = post(echo, "/v1/completions", {"prompt": "Who", **changes})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


# Embeddings


def test_embeddings_as_floats_and_as_base64(echo: ReplicaApp) -> None:
    async def use(client: openai.AsyncOpenAI) -> tuple[Any, Any]:
        texts = ["Who founded Microsoft?", "Paris"]
        floats = await client.embeddings.create(model="m", input=texts, encoding_format="float")
        return floats, await client.embeddings.create(model="m", input=texts)

    floats, packed = ask(echo, use)
    assert [item.index for item in floats.data] == [0, 1]
    assert math.hypot(*floats.data[0].embedding) == pytest.approx(1)
    for one, other in zip(floats.data, packed.data, strict=True):  # the package decodes base64
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert floats.usage.prompt_tokens > 2


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [[1], ["x"]]}, "input[1]"),
        ({"input": "x " * 1200}, "input"),
        ({"input": [70] * 1024}, "input"),  # llama.cpp refuses a full context, too
        ({"input": ["x"] * 257}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 5}, "dimensions"),
    ],
)
def test_embeddings_refuse_by_name(echo: ReplicaApp, changes: dict[str, Any], param: str) -> None:
    reply = post(echo, "/v1/embeddings", {"input": "x", **changes})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


# Tools


CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'


def _calls(app: ReplicaApp, **changes: Any) -> tuple[Any, list[Any]]:
    async def use(client: openai.AsyncOpenAI) -> tuple[Any, list[Any]]:
        options: dict[str, Any] = {"model": "m", "messages": ASK, "tools": [TOOL], **changes}
        create: Any = client.chat.completions.create
        whole = await create(**options)
        stream = await create(stream=True, **options)
        return whole.choices[0], [chunk.choices[0] async for chunk in stream]

    return ask(app, use)


def test_calls_are_told_from_text_whole_and_streamed(hermes_dir: Path) -> None:
    app = make_app(hermes_dir, say="Let me see. " + CALL + "\n" + CALL)
    whole, chunks = _calls(app)
    assert whole.message.content == "Let me see."
    assert [call.function.name for call in whole.message.tool_calls] == ["weather"] * 2
    assert json.loads(whole.message.tool_calls[0].function.arguments) == {"city": "Paris"}
    assert whole.message.tool_calls[0].id != whole.message.tool_calls[1].id
    assert whole.finish_reason == chunks[-1].finish_reason == "tool_calls"
    assert "".join(c.delta.content or "" for c in chunks) == "Let me see. "
    streamed: list[Any] = []
    for chunk in chunks:
        streamed += chunk.delta.tool_calls or []
    assert [call.index for call in streamed] == [0, 1]
    assert [call.function.name for call in streamed] == ["weather"] * 2


def test_one_call_where_one_is_wanted(hermes_dir: Path) -> None:
    whole, _ = _calls(make_app(hermes_dir, say=CALL + CALL), parallel_tool_calls=False)
    assert len(whole.message.tool_calls) == 1


@pytest.mark.parametrize(
    "said",
    [
        "Paris is <b>warm</b> <tool",
        '<tool_call>\n{"name": "weather", "arg',
        '<tool_call>\n{"name": "rm", "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"name": "weather", "arguments": 5}\n</tool_call>',
        CALL + " and so on",
    ],
)
def test_what_is_no_call_is_text(hermes_dir: Path, said: str) -> None:
    whole, chunks = _calls(make_app(hermes_dir, say=said))
    assert whole.message.tool_calls is None
    assert whole.message.content == said
    assert "".join(chunk.delta.content or "" for chunk in chunks) == said
    assert whole.finish_reason == "stop"


def test_a_forced_call_begins_where_the_format_does(hermes_dir: Path) -> None:
    """The engine says what comes after the opening: the fake one is told to."""
    said = '{"name": "weather", "arguments": {"city": "Paris"}}'
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        whole, _ = _calls(make_app(hermes_dir, say=said), tool_choice=choice)
        assert json.loads(whole.message.tool_calls[0].function.arguments) == {"city": "Paris"}
        assert whole.message.content is None


def test_none_of_the_tools_is_shown_to_the_model(hermes_dir: Path) -> None:
    app = make_app(hermes_dir)
    shown = post(app, "/v1/chat/completions", {"messages": ASK, "tools": [TOOL]}).json()
    hidden = post(
        app, "/v1/chat/completions", {"messages": ASK, "tools": [TOOL], "tool_choice": "none"}
    ).json()
    assert "weather" in shown["choices"][0]["message"]["content"]
    assert "weather" not in hidden["choices"][0]["message"]["content"]


def test_calls_and_their_results_reach_the_template(hermes_dir: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 7}'}}
    messages = [
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "9 degrees"},
    ]
    reply = post(make_app(hermes_dir), "/v1/chat/completions", {"messages": messages})
    said = reply.json()["choices"][0]["message"]["content"]
    assert '{"name": "f", "arguments": {"a": 7}}' in said
    assert "tool\n9 degrees" in said


def test_a_template_without_tools_refuses_them(echo: ReplicaApp) -> None:
    reply = post(echo, "/v1/chat/completions", {"messages": ASK, "tools": [TOOL]})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "tools")
    assert "no place" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tools": "weather"}, "tools"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "rm"}}}, "tool_choice"),
        ({"tool_choice": "required", "response_format": {"type": "json_object"}}, "tool_choice"),
    ],
)
def test_tools_are_refused_by_name(hermes_dir: Path, changes: dict[str, Any], param: str) -> None:
    body = {"messages": ASK, "tools": [TOOL], **changes}
    reply = post(make_app(hermes_dir), "/v1/chat/completions", body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


# The inner door, health, metrics


def test_the_inner_door_takes_and_gives_token_ids(echo: ReplicaApp) -> None:
    rendered = post(echo, "/internal/render", {"messages": ASK}).json()["prompt_ids"]
    found = post(
        echo, "/internal/generate", {"prompt_ids": rendered, "max_tokens": 4, "top_logprobs": 1}
    ).json()
    assert found["token_ids"] == rendered[:4]
    assert found["finish_reason"] == "length"
    assert [told["token_id"] for told in found["logprobs"]] == found["token_ids"]
    assert found["logprobs"][0]["top"] == [{"token_id": rendered[0], "logprob": 0.0}]
    plain = post(echo, "/internal/generate", {"prompt_ids": [70], "max_tokens": 9}).json()
    assert (plain["token_ids"], plain["finish_reason"], plain["logprobs"]) == ([70], "stop", None)


def test_health_is_open_and_tells_the_features(echo: ReplicaApp) -> None:
    assert get(echo, "/health/live").json() == {"status": "alive"}
    ready = get(echo, "/health/ready")
    assert ready.status_code == 200
    assert ready.json()["features"] == ["embeddings", "json_schema", "logprobs"]


def test_what_was_answered_is_counted(tokenizer_dir: Path) -> None:
    app = make_app(tokenizer_dir)
    whole = post(app, "/v1/chat/completions", {"messages": ASK, "max_tokens": 5})
    post(app, "/v1/chat/completions", {"messages": ASK, "max_tokens": 7, "stream": True})
    post(app, "/v1/chat/completions", {"messages": []})
    prompt, completion = whole.headers["x-phoundry-usage"].split(",")
    usage = whole.json()["usage"]
    assert (int(prompt), int(completion)) == (usage["prompt_tokens"], usage["completion_tokens"])
    text = get(app, "/metrics").text
    tokens = 'phoundry_replica_tokens_total{dialect="chat",gen_ai_token_type='
    assert f'{tokens}"output"}} 12' in text
    assert f'{tokens}"input"}} {2 * int(prompt)}' in text
    assert 'phoundry_replica_requests_total{dialect="chat",status="400"} 1' in text
    assert 'phoundry_replica_requests_total{dialect="chat",status="200"} 2' in text
    assert 'gen_ai_server_time_to_first_token_seconds_count{dialect="chat"} 1' in text
    assert 'gen_ai_server_request_duration_seconds_count{dialect="chat"} 2' in text
