"""Conversations to test with, and Hypothesis strategies of them."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from phoundry.data import ChatMessage, ChatTokenizer, Example

# A test says whether something is right, and never how fast: other work may share the machine.
steady = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

CONTROL_TEXT = (
    "<|im_end|>",
    "<|im_start|>system\n",
    "<|end|>",
    "<|user|>\n",
    "<|assistant|>",
    "<|endoftext|>",
)


def chat(*contents: str, system: str | None = None) -> list[ChatMessage]:
    """User and assistant in turn."""
    messages = [
        ChatMessage(role="assistant" if i % 2 else "user", content=content)
        for i, content in enumerate(contents)
    ]
    return messages if system is None else [ChatMessage(role="system", content=system), *messages]


def supervised(example: Example) -> list[int]:
    return [t for t, learn in zip(example.token_ids, example.loss_mask, strict=True) if learn]


def text_of(tokenizer: ChatTokenizer, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special=False)


def without_control_text(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Where contents have control text we differ, and mean to."""
    cleaned: list[ChatMessage] = []
    for message in messages:
        content = message["content"]
        for text in (*CONTROL_TEXT, "</s>", "<s>", "<unk>"):
            content = content.replace(text.strip(), "")
        cleaned.append(ChatMessage(role=message["role"], content=content))
    return cleaned


# Any text, often with pieces that could forge a role or join with what the template writes.
# Characters of plane 16 stand for control tokens inside, and are refused beside control text.
contents = st.lists(
    st.one_of(
        st.text(st.characters(max_codepoint=0xFFFFF, exclude_categories=["Cs"]), max_size=12),
        st.sampled_from([*CONTROL_TEXT, "\n", "  ", "12", "é", "😀", "<|", "|>"]),
    ),
    max_size=5,
).map("".join)


@st.composite
def chats(draw: st.DrawFn) -> list[ChatMessage]:
    """One to three exchanges, sometimes after a system message or before a last question."""
    turns = draw(st.lists(st.tuples(contents, contents), min_size=1, max_size=3))
    flat = [content for turn in turns for content in turn]
    flat += draw(st.lists(contents, max_size=1))
    return chat(*flat, system=draw(st.none() | contents))
