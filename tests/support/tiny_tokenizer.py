"""A tokenizer small enough for a test: trained in milliseconds, the same bytes every time.

    made = make_tiny_tokenizer(folder)                  # Phi-3's tokens and template
    made = make_tiny_tokenizer(folder, style="chatml")  # SmolLM2's

The folder then holds what a checkpoint's folder holds of a tokenizer, and both `transformers` and
`phoundry.data.ChatTokenizer` load it. The pre-tokenizer is SmolLM2's (digits one by one, then
byte-level), which GGUF names "smollm".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

Style = Literal["phi3", "chatml"]

TEXT = (
    "Who founded Microsoft? Microsoft was founded by Bill Gates and Paul Allen.",
    "What is a building permit? A building permit is a decision of the municipality.",
    "You are a helpful assistant. Answer the question of the user in one sentence.",
    "How long does it take? It takes ten weeks from the day on which the papers are complete.",
    "The capital of France is Paris. The capital of Sweden is Stockholm.",
    "system\nuser\nassistant\nsystem\nuser\nassistant\n",
)

PHI3_TOKENS = ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
PHI3_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'assistant' %}"
    "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
CHATML_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATML_TEMPLATE = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class TinyTokenizer:
    """What a model's config needs to know of the tokenizer in `folder`."""

    folder: Path
    vocab_size: int
    bos_id: int
    eos_ids: list[int]
    pad_id: int


def make_tiny_tokenizer(
    folder: Path, style: Style = "phi3", vocab_size: int = 384, *, rstrip: bool = False
) -> TinyTokenizer:
    """Write tokenizer.json, tokenizer_config.json, chat_template.jinja, generation_config.json.

    `vocab_size` counts the special tokens and is at least 262 (256 bytes and the special ones); the
    text has merges for about 440. In style "phi3" the special tokens have the last ids, in "chatml"
    the first, as in the real models. `rstrip` makes Phi-3's tokens swallow the white space that
    follows them, as the real ones do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    special = PHI3_TOKENS if style == "phi3" else CHATML_TOKENS
    tokenizer = _train(special, vocab_size, last=style == "phi3", rstrip=rstrip)
    vocab = tokenizer.get_vocab()
    ids = {token: vocab[token] for token in special}
    if style == "phi3":
        bos = eos = pad = "<|endoftext|>"
        template, eos_ids = PHI3_TEMPLATE, [ids["<|endoftext|>"], ids["<|end|>"]]
    else:
        bos, eos, pad = "<|im_start|>", "<|im_end|>", "<|im_end|>"
        template, eos_ids = CHATML_TEMPLATE, [ids["<|im_end|>"]]
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": bos,
            "eos_token": eos,
            "pad_token": pad,
            "unk_token": "<|endoftext|>",
            "add_bos_token": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 4096,
        },
    )
    _write(
        folder / "generation_config.json",
        {
            "bos_token_id": ids[bos],
            "eos_token_id": eos_ids if len(eos_ids) > 1 else eos_ids[0],
            "pad_token_id": ids[pad],
        },
    )
    return TinyTokenizer(folder, tokenizer.get_vocab_size(), ids[bos], eos_ids, ids[pad])


def _train(special: tuple[str, ...], vocab_size: int, *, last: bool, rstrip: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokens = [
        AddedToken(token, special=True, normalized=False, rstrip=rstrip and i > 0)
        for i, token in enumerate(special)
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(special) if last else vocab_size,
        special_tokens=[] if last else tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=1,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    if last:
        tokenizer.add_special_tokens(tokens)
    return tokenizer


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
