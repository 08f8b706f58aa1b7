from __future__ import annotations

import re

import pytest

from phoundry.data import ChatMessage
from phoundry.data.template import ChatTemplate
from phoundry.errors import InvalidInput
from tests.data.chats import chat


def render(source: str, messages: list[ChatMessage] | None = None, **tokens: str) -> str:
    return ChatTemplate(source, "tiny", tokens).render(messages or chat("Q", "A"), False)


def test_blocks_are_trimmed_as_hugging_face_trims_them() -> None:
    source = (
        "{% for m in messages %}\n    {% if true %}\n{{ m.content }}\n    {% endif %}\n{% endfor %}"
    )
    assert render(source) == "Q\nA\n"


def test_loop_controls_generation_blocks_and_named_tokens() -> None:
    source = (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{% continue %}{% endif %}"
        "{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}{{ eos_token }}"
    )
    assert render(source, bos_token="<s>") == "<s>A"


def test_tojson_keeps_unicode_and_html() -> None:
    source = "{{ messages[0].content | tojson }}{{ {'b': 1, 'a': 2} | tojson(indent=1) }}"
    assert render(source, chat("é<b>&'")) == '"é<b>&\'"{\n "b": 1,\n "a": 2\n}'


def test_strftime_now_and_absent_tools() -> None:
    source = "{{ strftime_now('%Y') }}{% if tools is none and documents is none %} none{% endif %}"
    assert re.fullmatch(r"\d{4} none", render(source))


def test_what_a_template_raises_is_told_with_the_model() -> None:
    with pytest.raises(
        InvalidInput, match=r"template of tiny refuses .*: Roles must alternate"
    ) as e:
        render("{{ raise_exception('Roles must alternate.') }}")
    assert ".." not in str(e.value)
    assert e.value.remedy


@pytest.mark.parametrize("source", ["{{ 'a' + 1 }}", "{{ 1 // 0 }}", "{{ messages[0].x.y }}"])
def test_a_template_that_fails_is_no_crash(source: str) -> None:
    with pytest.raises(InvalidInput, match="template of tiny refuses"):
        render(source)


def test_a_template_that_does_not_parse_is_told_with_its_line() -> None:
    with pytest.raises(InvalidInput, match="template of tiny is not usable: line 2"):
        ChatTemplate("ok\n{% for %}", "tiny", {})


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__.__init__.__globals__ }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ '{0.__class__}'.format(messages) }}",
        "{% set x = messages.append(1) %}",
        "{{ messages[0].update({'role': 'system'}) }}",
    ],
)
def test_a_template_cannot_leave_the_sandbox(source: str) -> None:
    messages = chat("Q")
    try:
        rendered = render(source, messages)
    except InvalidInput:
        rendered = ""
    # What the sandbox hides is undefined, which is written as nothing.
    assert "class" not in rendered
    assert messages == chat("Q")
