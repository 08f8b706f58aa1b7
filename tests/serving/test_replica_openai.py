"""The real openai package against gateway and replica."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.serving.conftest import Gateway, deployment, endpoint
from tests.serving.processes import Worker

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Who founded Microsoft?"}]


@pytest.fixture
def client(gateway: Gateway, echo: Worker) -> Iterator[openai.OpenAI]:
    gateway.use({"faq": endpoint(blue=deployment(echo), green=deployment(echo))})
    url = f"{gateway.url}/v1"
    with openai.OpenAI(base_url=url, api_key="key-of-faq", max_retries=0) as made:
        yield made


def test_a_whole_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="faq", messages=ASK)
    choice = answer.choices[0]
    assert (answer.object, answer.model, choice.finish_reason) == ("chat.completion", "faq", "stop")
    assert choice.message.role == "assistant"
    assert "Who founded Microsoft?" in (choice.message.content or "")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_adds_up_to_the_whole_answer(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="faq", messages=ASK)
    chunks = list(
        client.chat.completions.create(
            model="faq/green",
            messages=ASK,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


def test_max_tokens_and_stop(client: openai.OpenAI) -> None:
    short = client.chat.completions.create(
        model="faq",
        messages=ASK,
        max_completion_tokens=3,
    )
    stopped = client.chat.completions.create(
        model="faq",
        messages=ASK,
        stop=["Microsoft"],
    )
    assert short.choices[0].finish_reason == "length"
    assert short.usage is not None
    assert short.usage.completion_tokens == 3
    assert (stopped.choices[0].message.content or "").endswith("Who founded ")
    assert stopped.choices[0].finish_reason == "stop"


def test_the_models_that_the_key_opens(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["faq", "faq/blue", "faq/green"]


def test_errors_are_the_packages_own(gateway: Gateway, client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nothing", messages=ASK)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="faq",
            messages=ASK,
            temperature=2.5,
        )
    assert caught.value.param == "temperature"


def test_under_an_endpoints_own_base_url(gateway: Gateway, client: openai.OpenAI) -> None:
    own = client.with_options(base_url=f"{gateway.url}/endpoints/faq/v1")
    answer = own.chat.completions.create(model="faq", messages=ASK)
    assert answer.choices[0].finish_reason == "stop"
