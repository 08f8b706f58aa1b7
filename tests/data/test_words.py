"""Word by word, the ids are the library's: for every kind of tokenizer that is known."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import trainers as training

from phoundry.data import words
from tests.data.chats import steady
from tests.support.tiny_tokenizer import TEXT

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _split(digits: str) -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(_LLAMA3 % digits), "isolated")
    return pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


CUTTERS = {
    "gpt2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    ),
    "llama3": lambda: _split(r"\p{N}{1,3}"),
    "qwen2": lambda: _split(r"\p{N}"),
}
CORPUS = [
    *TEXT,
    "It's 1234 o'clock!\n\n\tdon't  go…  \r\n",
    "12 345 6789 é’s naïve 中文",
    "\n\n \n",
]


def _tokenizer(cutter: str, *, nfc: bool = False, **added: bool) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = CUTTERS[cutter]()
    made.decoder = decoders.ByteLevel()
    if nfc:
        made.normalizer = normalizers.NFC()
    trainer = training.BpeTrainer(
        vocab_size=420,
        special_tokens=[AddedToken("<|im_end|>", special=True, normalized=False, **added)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(CORPUS * 3, trainer)
    return made


@pytest.fixture(scope="module", params=[*CUTTERS, "qwen2 with NFC"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    cutter, _, normalizer = str(request.param).partition(" with ")
    return _tokenizer(cutter, nfc=bool(normalizer))


# What the rules are about: kinds of characters side by side, ASCII and foreign ones of each kind.
pieces = st.sampled_from(
    [
        *(" ", "  ", "\n", "\r", "\t", "\x0b", "\x1c", "\x00", "\x85", "\u00a0", "\u3000"),
        *("a", "B", "don't", "'S", "'", "1", "23", "4567", ".", "!?", "-", "_"),
        *("é", "e\u0301", "\u0301", "’", "²", "٣", "中文", "😀", "ſ", "\u212a", "<|im_end|>", "<|"),
    ]
)
texts = st.lists(st.one_of(pieces, st.text(max_size=3)), max_size=14).map("".join)


@steady
@given(st.lists(texts, max_size=40))
def test_any_text_has_the_ids_of_the_library(tokenizer: Tokenizer, lines: list[str]) -> None:
    encoder = words.known(tokenizer)
    assert encoder is not None
    for line in lines:
        assert encoder.encode(line) == tokenizer.encode(line, add_special_tokens=False).ids


def test_thousands_of_odd_texts(tokenizer: Tokenizer) -> None:
    encoder = words.known(tokenizer)
    assert encoder is not None
    chooser = random.Random(4)
    alphabet = [
        " ",
        "  ",
        "\n",
        "\t",
        "a",
        "It's",
        "'",
        "12",
        ".",
        "é",
        "\u0301",
        "\u00a0",
        "’",
        "²",
    ]
    for _ in range(4000):
        line = "".join(chooser.choices(alphabet, k=chooser.randint(1, 12)))
        assert encoder.encode(line) == tokenizer.encode(line, add_special_tokens=False).ids, line


def test_forgetting_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "MOST_WORDS", 5)
    tokenizer = _tokenizer("gpt2")
    encoder = words.known(tokenizer)
    assert encoder is not None
    for line in [*CORPUS, "Who?<|im_end|>\n", *CORPUS]:
        assert encoder.encode(line) == tokenizer.encode(line, add_special_tokens=False).ids


@pytest.mark.parametrize("option", ["lstrip", "rstrip", "single_word"])
def test_tokens_that_take_more_than_their_text_are_left_to_the_library(option: str) -> None:
    assert words.known(_tokenizer("gpt2", **{option: True})) is None


def test_other_tokenizers_are_left_to_the_library() -> None:
    prefixed = _tokenizer("gpt2")
    prefixed.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    lowered = _tokenizer("gpt2")
    lowered.normalizer = normalizers.Lowercase()
    for other in (prefixed, lowered, Tokenizer(models.Unigram([("a", 0.0)], unk_id=0))):
        assert words.known(other) is None


def test_a_probe_that_differs_leaves_it_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if a version of the library cut words in another way than the expression here does.
    wrong = dict.fromkeys(words._KNOWN, r"\w+|\W")  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(words, "_KNOWN", wrong)
    assert words.known(_tokenizer("gpt2")) is None
