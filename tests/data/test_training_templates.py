"""Generation tags: where they stand, that they change no text, and that our mask is theirs."""

from __future__ import annotations

import re
import shutil
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from phoundry.data import ChatMessage, ChatTokenizer
from phoundry.data.template import ChatTemplate
from phoundry.data.training_templates import normalised, template_hash, training_template
from phoundry.errors import InvalidInput
from tests.data.chats import chat, chats, steady, supervised, text_of
from tests.support.tiny_tokenizer import CHATML_TEMPLATE, PHI3_TEMPLATE

TAGGED = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TAGS = ("generation", "endgeneration")
LONG = chat(*(f"text {i}" for i in range(14)))


def loaded(folder: Path, template: str, into: Path) -> ChatTokenizer:
    shutil.copytree(folder, into / "changed")
    (into / "changed" / "chat_template.jinja").write_text(template)
    return ChatTokenizer.load(into / "changed")


def test_every_file_of_edits_is_whole() -> None:
    names: list[str] = []
    for file in files("phoundry.data.training_templates").iterdir():
        if not file.name.endswith(".toml"):
            continue
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        names += content["templates"].values()
        put = "".join(edit["put"] for edit in content["edits"])
        opened, closed = (len(re.findall(rf"\{{%-? {tag} -?%\}}", put)) for tag in TAGS)
        assert opened == closed > 0
        assert all(edit["find"] != edit["put"] for edit in content["edits"])
    assert len(names) == len(set(names)) >= 15


@pytest.mark.parametrize("source", [CHATML_TEMPLATE, PHI3_TEMPLATE])
def test_a_template_is_known_whatever_its_line_ends(source: str) -> None:
    made = training_template(source)
    assert made is not None
    assert made.count("{% generation %}") == 1
    assert template_hash(source + "\n") == template_hash(source)
    assert training_template(source.replace("\n", "\r\n")) == made
    assert training_template(source + " ") is None
    assert normalised("a\r\nb\rc\n\n") == "a\nb\nc\n"


@steady
@given(chats())
@pytest.mark.parametrize("source", [CHATML_TEMPLATE, PHI3_TEMPLATE])
def test_a_training_template_writes_the_same_text(source: str, messages: list[ChatMessage]) -> None:
    template = ChatTemplate(source, "tiny", {"eos_token": "<|endoftext|>"})
    end = "<|im_end|>" if source is CHATML_TEMPLATE else "<|end|>"
    marked = template.marked(messages)
    assert marked.text == template.render(messages, False)
    said = [marked.text[start:stop] for start, stop in marked.spans]
    assert said == [m["content"] + end for m in messages if m["role"] == "assistant"]


def test_marks_are_those_of_transformers(chatml_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    ours = loaded(chatml_folder, TAGGED, tmp_path)
    reference: Any = AutoTokenizer.from_pretrained(tmp_path / "changed")
    messages = chat("Who?", "Bill.", "And?", "Paul.", system="Be brief.")
    made = reference.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    example = ours.render_example(messages)
    assert example.token_ids == made["input_ids"]
    assert [int(learnt) for learnt in example.loss_mask] == made["assistant_masks"]


@steady
@given(chats())
def test_many_answers_are_found_by_marks_as_by_prompts(
    chatml: ChatTokenizer, phi3: ChatTokenizer, messages: list[ChatMessage]
) -> None:
    messages = LONG + messages[messages[0]["role"] == "system" :]
    for tokenizer in (chatml, phi3):
        example = tokenizer.render_example(messages)
        places = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
        assert len(places) >= 8
        for place, end in zip(places, example.turn_ends, strict=True):
            prompt = tokenizer.render_prompt(messages[:place])
            assert example.token_ids[: len(prompt)] == prompt
            assert not example.loss_mask[len(prompt) - 1]
            assert all(example.loss_mask[len(prompt) : end])
            assert example.token_ids[end - 1] == tokenizer.end_token_id
            assert not any(example.loss_mask[end : end + 1])


def test_a_training_template_that_writes_another_text_is_refused(
    chatml: ChatTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = training_template(CHATML_TEMPLATE)
    assert wrong is not None
    monkeypatch.setattr(
        "phoundry.data.template.training_template", lambda _: wrong.replace("'\n'", "'\n\n'")
    )
    template = ChatTemplate(CHATML_TEMPLATE, "tiny", {})
    monkeypatch.setattr(chatml._turns, "_template", template)
    monkeypatch.setattr(chatml, "_template", template)
    with pytest.raises(InvalidInput, match="writes this conversation differently"):
        chatml.render_example(LONG)


SAID = "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}"
DISAGREEING = {
    "nothing": "{{ m.content + '<|im_end|>' }}{% generation %}{% endgeneration %}",
    "no end": "{% generation %}{{ m.content }}{% endgeneration %}{{ '<|im_end|>' }}",
    "a part": "{{ m.content[:1] }}{% generation %}{{ m.content[1:] + '<|im_end|>' }}"
    "{% endgeneration %}",
}


@pytest.mark.parametrize("turns", [2, 14])
@pytest.mark.parametrize("case", [*DISAGREEING, "the user too"])
def test_own_tags_that_disagree_are_refused(
    chatml_folder: Path, tmp_path: Path, case: str, turns: int
) -> None:
    assert TAGGED.count(SAID) == 1
    source = TAGGED.replace(SAID, DISAGREEING.get(case, SAID))
    if case == "the user too":
        source = TAGGED.replace("{% else %}{{ m.content + '<|im_end|>' }}", "{% else %}" + SAID)
    tokenizer = loaded(chatml_folder, source, tmp_path)
    with pytest.raises(InvalidInput, match=r"generation tags .* mark another text"):
        tokenizer.render_example(LONG[:turns])


def test_own_tags_may_take_in_the_cue_and_white_space_after_the_end(
    chatml_folder: Path, tmp_path: Path
) -> None:
    # As SmolLM3's do: the model is never asked to say either.
    source = (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}"
        "{{ '<|im_start|>assistant\n' + m.content + '<|im_end|>\n' }}{% endgeneration %}"
        "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    tokenizer = loaded(chatml_folder, source, tmp_path)
    example = tokenizer.render_example(chat("Who?", "Bill.", "And?", "Paul."))
    assert text_of(tokenizer, supervised(example)) == "Bill.<|im_end|>Paul.<|im_end|>"


def test_tags_in_a_buffer_are_refused(chatml_folder: Path, tmp_path: Path) -> None:
    inside = TAGGED.replace("{% for m in", "{% set text %}{% for m in").replace(
        "{% endfor %}", "{% endfor %}{% endset %}{{ text }}"
    )
    tokenizer = loaded(chatml_folder, inside, tmp_path)
    with pytest.raises(InvalidInput, match="tags around text that it changes afterwards"):
        tokenizer.render_example(chat("Who?", "Bill."))
