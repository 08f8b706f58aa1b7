"""What training learns from, and that it is what serving asks with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given

from phoundry.data import ChatMessage, ChatTokenizer
from phoundry.errors import InvalidInput
from tests.data.chats import chat, chats, steady, supervised, text_of
from tests.data.test_checkpoint import edit


def answers(messages: list[ChatMessage]) -> list[int]:
    return [i for i, m in enumerate(messages) if m["role"] == "assistant" and i > 0]


def with_template(folder: Path, template: str, into: Path) -> ChatTokenizer:
    shutil.copytree(folder, into / "changed")
    (into / "changed" / "chat_template.jinja").write_text(template)
    return ChatTokenizer.load(into / "changed")


def test_the_tokens_of_one_exchange(chatml: ChatTokenizer) -> None:
    example = chatml.render_example(chat("Who?", "Bill Gates."))
    assert text_of(chatml, example.token_ids) == (
        "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\nBill Gates.<|im_end|>\n"
    )
    assert text_of(chatml, supervised(example)) == "Bill Gates.<|im_end|>"
    assert chatml.decode(example.token_ids) == "user\nWho?\nassistant\nBill Gates.\n"


def test_phi3_ends_turns_with_end_and_not_with_its_end_of_text(phi3: ChatTokenizer) -> None:
    example = phi3.render_example(chat("Who?", "Bill.", "And?", "Paul.", system="Be brief."))
    assert text_of(phi3, supervised(example)) == "Bill.<|end|>Paul.<|end|>"
    assert text_of(phi3, example.token_ids[-1:]) == "<|endoftext|>"
    assert not example.loss_mask[-1]
    assert text_of(phi3, [phi3.end_token_id or 0]) == "<|end|>"
    assert len(phi3.end_token_ids) == 2
    ends = [text_of(phi3, [example.token_ids[end - 1]]) for end in example.turn_ends]
    assert ends == ["<|end|>", "<|end|>"]


# Unicode's White_Space, as `tokenizers` knows it. Python's str.isspace counts four separators more.
WHITE_SPACE = "".join(
    char for char in map(chr, range(0x3001)) if char.isspace() and not "\x1c" <= char <= "\x1f"
)


@steady
@given(chats())
def test_learnt_is_every_answer_with_its_end_and_nothing_else(
    chatml: ChatTokenizer, messages: list[ChatMessage]
) -> None:
    example = chatml.render_example(messages)
    expected = [f"{messages[i]['content']}<|im_end|>" for i in answers(messages)]
    assert text_of(chatml, supervised(example)) == "".join(expected)
    assert len(example) == len(example.loss_mask)
    assert text_of(chatml, example.token_ids) == chatml.render_text(messages, False)


@steady
@given(chats())
def test_phi3_learns_every_answer_as_the_template_leaves_it(
    phi3: ChatTokenizer, messages: list[ChatMessage]
) -> None:
    # Phi-3's tokens swallow the white space that follows them: an answer begins without any.
    example = phi3.render_example(messages)
    expected = [f"{messages[i]['content'].lstrip(WHITE_SPACE)}<|end|>" for i in answers(messages)]
    assert text_of(phi3, supervised(example)) == "".join(expected)


@steady
@given(chats())
def test_each_answer_follows_the_ids_that_serving_asks_with(
    chatml: ChatTokenizer, phi3: ChatTokenizer, messages: list[ChatMessage]
) -> None:
    for tokenizer in (chatml, phi3):
        example = tokenizer.render_example(messages)
        for i, end in zip(answers(messages), example.turn_ends, strict=True):
            prompt = tokenizer.render_prompt(messages[:i])
            assert example.token_ids[: len(prompt)] == prompt
            assert not example.loss_mask[len(prompt) - 1]
            assert all(example.loss_mask[len(prompt) : end])
            assert example.token_ids[end - 1] == tokenizer.end_token_id


def test_an_answer_that_begins_with_a_line_break_is_cut_from_the_template_s(
    phi3_folder: Path, tmp_path: Path
) -> None:
    # A tokenizer with a token for two line breaks would join the template's with the answer's.
    tokenizer = joining_tokenizer(phi3_folder, tmp_path)
    assert len(tokenizer.encode("\n\n")) == 1
    # The last of several line breaks goes with the word: two are needed for the first to be joined.
    messages = chat("Who?", "\n\nBill.", "And?", "\n\nPaul.")
    text = tokenizer.render_text(messages, False)
    assert len(tokenizer.encode(text)) < len(tokenizer.render_example(messages))
    example = tokenizer.render_example(messages)
    assert text_of(tokenizer, supervised(example)) == "\n\nBill.<|end|>\n\nPaul.<|end|>"
    for i in (1, 3):
        prompt = tokenizer.render_prompt(messages[:i])
        assert example.token_ids[: len(prompt)] == prompt


def joining_tokenizer(folder: Path, into: Path) -> ChatTokenizer:
    """Phi-3's template on a vocabulary in which "\\n\\n" is a token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    shutil.copytree(folder, into / "joining")
    special = ["<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(["a\n\n b\n\n c\n\n"] * 9, trainer)
    trained.save(str(into / "joining" / "tokenizer.json"))
    edit(into / "joining" / "generation_config.json", eos_token_id=3)
    return ChatTokenizer.load(into / "joining")


def test_a_bos_is_written_once(chatml_folder: Path, tmp_path: Path) -> None:
    template = (chatml_folder / "chat_template.jinja").read_text()
    writes = with_template(chatml_folder, "{{ bos_token }}" + template, tmp_path / "a")
    edit(tmp_path / "a" / "changed" / "tokenizer_config.json", bos_token="<|endoftext|>")
    lacks = with_template(chatml_folder, template, tmp_path / "b")
    edit(tmp_path / "b" / "changed" / "tokenizer_config.json", bos_token="<|endoftext|>")
    plain = lacks.render_prompt(chat("Who?"))
    for folder in ("a", "b"):
        config = tmp_path / folder / "changed" / "tokenizer_config.json"
        edit(config, add_bos_token=True)
        tokenizer = ChatTokenizer.load(config.parent)
        assert tokenizer.render_prompt(chat("Who?")) == [0, *plain]
        example = tokenizer.render_example(chat("Who?", "I."))
        assert example.token_ids[: len(plain) + 1] == [0, *plain]
        assert text_of(tokenizer, supervised(example)) == "I.<|im_end|>"
        assert text_of(tokenizer, example.token_ids[: example.turn_ends[0]]).endswith(
            "I.<|im_end|>"
        )
    assert writes.special_ids == lacks.special_ids == {0, 1, 2}


REWRITING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and not loop.last %}{% else %}{{ m.content }}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_template_that_rewrites_history_is_refused_for_such_conversations(
    chatml_folder: Path, tmp_path: Path
) -> None:
    tokenizer = with_template(chatml_folder, REWRITING, tmp_path)
    one = tokenizer.render_example(chat("Who?", "Bill."))
    assert text_of(tokenizer, supervised(one)) == "Bill.<|im_end|>"
    with pytest.raises(InvalidInput, match=r"template of changed does not write messages\[1\]"):
        tokenizer.render_example(chat("Who?", "Bill.", "And?", "Paul."))
    # Serving asks as the template says.
    prompt = tokenizer.render_prompt(chat("Who?", "Bill.", "And?"))
    assert "Bill" not in text_of(tokenizer, prompt)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    ],
)
def test_a_template_that_never_ends_an_answer_can_be_asked_but_not_learnt(
    chatml_folder: Path, tmp_path: Path, template: str
) -> None:
    tokenizer = with_template(chatml_folder, template, tmp_path)
    assert tokenizer.end_token_id is None
    assert tokenizer.end_token_ids == (2,)
    assert tokenizer.render_prompt(chat("Who?"))
    with pytest.raises(InvalidInput, match="could not learn to stop"):
        tokenizer.render_example(chat("Who?", "Bill."))


def test_a_template_that_ignores_the_generation_prompt_is_refused(
    chatml_folder: Path, tmp_path: Path
) -> None:
    # The role of the answer would be learnt as if the model had to say it.
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    )
    tokenizer = with_template(chatml_folder, template, tmp_path)
    with pytest.raises(InvalidInput, match="could not learn to stop"):
        tokenizer.render_example(chat("Who?", "Bill."))


@pytest.mark.parametrize("messages", [[], chat("Who?"), chat("Who?", "I.")[1:]])
def test_nothing_to_learn_is_refused(chatml: ChatTokenizer, messages: list[ChatMessage]) -> None:
    with pytest.raises(InvalidInput, match="nothing to learn"):
        chatml.render_example(messages)


def test_an_empty_answer_teaches_to_stop(chatml: ChatTokenizer) -> None:
    example = chatml.render_example(chat("Who?", ""))
    assert supervised(example) == [chatml.end_token_id]


def test_plain_text_round_trips(chatml: ChatTokenizer) -> None:
    text = "Träd 12  och\n\né😀<|im_end|>"
    ids = chatml.encode(text)
    assert chatml.decode(ids, skip_special=False) == text
    assert chatml.decode(ids) == text.removesuffix("<|im_end|>")
    assert max(ids) < chatml.vocab_size
