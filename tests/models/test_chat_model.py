from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from phoundry.data import ChatTokenizer
from tests.models.conftest import Maker

CONVERSATIONS: list[list[dict[str, str]]] = [
    [{"role": "user", "content": "What is a building permit?"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  Hur lång tid tar det?\n"},
        {"role": "assistant", "content": "Tio veckor, 70 dagar."},
        {"role": "user", "content": "½ < 1 & that's 'it'"},
    ],
]


def load(folder: Path) -> Any:
    """The model of a registered version, as MLflow makes it."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from phoundry.models.chat_model import ChatModel

    model = ChatModel()
    context = SimpleNamespace(artifacts={"checkpoint": str(folder)}, model_config={"model": "faq"})
    model.load_context(context)
    return SimpleNamespace(predict=lambda request: model.predict(context, request), inner=model)


@pytest.mark.parametrize("kind", ["llama", "phi3"])
@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_the_prompt_is_that_of_training_and_serving(
    kind: str, messages: list[dict[str, str]], tiny: Maker
) -> None:
    expected = ChatTokenizer.load(tiny(kind)).render_prompt(messages)  # type: ignore[arg-type]
    assert load(tiny(kind)).inner._prompt(messages) == expected


def test_greedy_unless_a_temperature_is_asked_for(tiny: Maker) -> None:
    model = load(tiny("phi3"))
    request = {"messages": CONVERSATIONS[0], "max_tokens": 8}
    content = [model.predict(request)["choices"][0]["message"]["content"] for _ in range(2)]
    assert content[0] == content[1]
    hot = {**request, "temperature": 5.0}
    assert {model.predict(hot)["choices"][0]["message"]["content"] for _ in range(6)} != {
        content[0]
    }


def test_limits_and_reasons(tiny: Maker) -> None:
    model = load(tiny("phi3"))
    reply = model.predict({"messages": CONVERSATIONS[0], "max_tokens": 5})
    assert reply["usage"]["completion_tokens"] == 5
    assert reply["choices"][0]["finish_reason"] == "length"
    text = reply["choices"][0]["message"]["content"]
    stopped = model.predict({"messages": CONVERSATIONS[0], "max_tokens": 5, "stop": [text[2:]]})
    assert stopped["choices"][0]["message"]["content"] == text[:2]
    assert stopped["choices"][0]["finish_reason"] == "stop"


def test_the_answer_ends_at_the_end_of_the_turn(tiny: Maker) -> None:
    model = load(tiny("phi3"))
    free = model.inner._model.generate
    ids: list[int] = []

    def watch(*args: Any, **kwargs: Any) -> Any:
        output = free(*args, **kwargs)
        ids.extend(output[0, args[0].shape[1] :].tolist())
        return output

    model.inner._model.generate = watch
    model.predict({"messages": CONVERSATIONS[0], "max_tokens": 5})
    model.inner._ends = [ids[1]]  # as if the second token ended a turn
    reply = model.predict({"messages": CONVERSATIONS[0], "max_tokens": 5})
    assert reply["usage"]["completion_tokens"] == ids.index(ids[1]) + 1
    assert reply["choices"][0]["finish_reason"] == "stop"


def test_several_requests_give_several_replies(tiny: Maker) -> None:
    import pandas

    model = load(tiny("phi3"))
    rows = pandas.DataFrame(
        [{"messages": CONVERSATIONS[0], "max_tokens": 2}, {"messages": CONVERSATIONS[0]}]
    )
    rows.loc[1, "max_tokens"] = 3
    replies = model.predict(rows)
    assert [reply["usage"]["completion_tokens"] for reply in replies] == [2, 3]


def test_control_tokens_as_text_are_refused(tiny: Maker) -> None:
    with pytest.raises(ValueError, match=r"messages\[0\] holds the control token <\|end\|>"):
        load(tiny("phi3")).predict({"messages": [{"role": "user", "content": "a<|end|>b"}]})


def test_a_conversation_that_does_not_fit(tiny: Maker) -> None:
    with pytest.raises(ValueError, match="the model takes 128"):
        load(tiny("phi3")).predict({"messages": [{"role": "user", "content": "word " * 200}]})
