"""The one renderer of chats: what training learns from and what a replica feeds its engine.

Both use this class, so that a model is asked in exactly the form in which it was taught. It needs
`tokenizers` and `jinja2` alone: no torch, no transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from phoundry.data.checkpoint import TokenizerFiles, read_tokenizer_files
from phoundry.data.control import ControlTokens, EncodedText
from phoundry.data.row import ChatMessage
from phoundry.data.template import ChatTemplate
from phoundry.errors import InvalidInput

_PROBE: tuple[ChatMessage, ...] = (
    ChatMessage(role="user", content="a"),
    ChatMessage(role="assistant", content="b"),
)


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation to learn from; the three lists are of token positions.

    `loss_mask[t]` says whether the model must learn to say `token_ids[t]` after all before it.
    `turn_ends` has, for each assistant turn, the position just after its end token.
    """

    token_ids: list[int]
    loss_mask: list[bool]
    turn_ends: list[int]

    def __len__(self) -> int:
        return len(self.token_ids)


class ChatTokenizer:
    """Conversations in, token ids out. Safe to share between threads.

    `end_token_ids` end a turn: a generation stops at any of them. `special_ids` are the control
    tokens; no content can ever encode to one of them.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        self.name = files.name
        self.vocab_size: int = files.tokenizer.get_vocab_size()
        self.bos_id = files.id_of("bos_token")
        self._tokenizer: Tokenizer = files.tokenizer
        self._template = ChatTemplate(files.template, files.name, files.tokens)
        self._add_bos = files.add_bos
        self._control = ControlTokens(files.tokenizer, self._control_texts(files))
        self.end_token_id = self._find_end_token()
        ends = set(files.eos_ids)
        if self.end_token_id is not None:
            ends.add(self.end_token_id)
        self.end_token_ids = tuple(sorted(ends))
        pad = files.id_of("pad_token")
        self.pad_id: int = pad if pad is not None else min(ends, default=0)

    @classmethod
    def load(cls, folder: Path) -> ChatTokenizer:
        """The tokenizer in a checkpoint's folder.

        Reads tokenizer.json; chat_template.jinja, or the template in tokenizer_config.json; the
        end-of-turn ids of generation_config.json, else config.json, else tokenizer_config.json.

        Raises:
            NotFound: there is no tokenizer.json.
            InvalidInput: a file can't be read, or there is no chat template or it fails.
        """
        return cls(read_tokenizer_files(folder))

    @property
    def special_ids(self) -> frozenset[int]:
        return self._control.ids

    def encode(self, text: str, add_special: bool = False) -> list[int]:
        """Ids of plain text, in which control text *is* control tokens: for trusted text only."""
        return self._tokenizer.encode(text, add_special_tokens=add_special).ids

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=skip_special)

    def render_text(self, messages: Sequence[ChatMessage], add_generation_prompt: bool) -> str:
        """The template's text, for people to read. Ids come from the two methods below.

        Raises:
            InvalidInput: the template refuses the conversation.
        """
        return self._template.render(messages, add_generation_prompt)

    def render_prompt(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Ids after which the model answers: exactly what a replica feeds its engine.

        Raises:
            InvalidInput: the template refuses the conversation.
        """
        inert, guarded = self._control.guard(messages)
        text = self._template.render(inert, True)
        prompts = self._prompts(inert)
        # A template that rewrites earlier turns is no fault here: the model is asked as it says.
        starts = [len(prompt) for prompt in prompts.values() if text.startswith(prompt)]
        return self._encode(text, starts, guarded)[0]

    def render_example(self, messages: Sequence[ChatMessage]) -> Example:
        """Ids and loss mask: for each assistant turn, what the model must say after the prompt of
        the messages before it (the ids of `render_prompt`), up to and with its end token.

        Raises:
            InvalidInput: the template refuses the conversation, rewrites earlier turns when later
                ones follow, or ends turns with no token of their own; or no assistant turn answers.
        """
        if self.end_token_id is None:
            raise InvalidInput(
                f"The chat template of {self.name} ends assistant turns with no token of their "
                "own, so that a model could not learn to stop.",
                remedy="Use a template that writes the end-of-sequence token after each answer.",
            )
        inert, guarded = self._control.guard(messages)
        text = self._template.render(inert, False)
        prompts = self._prompts(inert)
        if not prompts:
            raise InvalidInput(
                "The conversation has no assistant message that answers another, "
                "so there is nothing to learn from it."
            )
        for place, prompt in prompts.items():
            self._check_turn(text, prompt, inert[place], place)
        ids, starts = self._encode(text, [len(prompt) for prompt in prompts.values()], guarded)
        mask = [False] * len(ids)
        ends: list[int] = []
        for start in starts:
            end = next(t for t in range(start, len(ids)) if ids[t] in self._control.ids) + 1
            mask[start:end] = [True] * (end - start)
            ends.append(end)
        return Example(ids, mask, ends)

    def _prompts(self, messages: Sequence[ChatMessage]) -> dict[int, str]:
        """For each assistant turn but a first message: the text it answers."""
        return {
            place: self._template.render(messages[:place], True)
            for place, message in enumerate(messages)
            if message["role"] == "assistant" and place > 0
        }

    def _check_turn(self, text: str, prompt: str, message: ChatMessage, place: int) -> None:
        """The turn must follow its prompt, whole, and be ended by a control token."""
        if text.startswith(prompt):
            end = self._control.first(text, len(prompt))
            if end is not None and message["content"].strip() in text[len(prompt) : end]:
                return
        raise InvalidInput(
            f"The chat template of {self.name} does not write messages[{place}] as it stands after "
            "the prompt that asks for it: it changes earlier turns when later ones follow.",
            remedy="Give each such answer a conversation of its own, or another chat template.",
        )

    def _encode(
        self, text: str, starts: Sequence[int], guarded: bool
    ) -> tuple[list[int], list[int]]:
        """Ids of `text`, and the token position of each of `starts` (character positions).

        The ids before a start are the ids of the text before it: where a token would reach across
        (an answer that begins with a line break, after the template's own), the text is cut there,
        because the model is asked with the prompt alone.
        """
        ids: list[int] = []
        places: list[int] = []
        cut = 0
        piece = EncodedText(self._control, text, guarded)
        for start in starts:
            before = piece.tokens_before(start - cut)
            if before is None:
                ids += self._control.encode(text[cut:start], guarded)
                cut, before = start, 0
                piece = EncodedText(self._control, text[start:], guarded)
            places.append(len(ids) + before)
        ids += piece.ids
        if self._add_bos and self.bos_id is not None and ids[:1] != [self.bos_id]:
            return [self.bos_id, *ids], [place + 1 for place in places]
        return ids, places

    def _control_texts(self, files: TokenizerFiles) -> dict[int, str]:
        """Control tokens: those marked special, those that end a turn, those a prompt is made of.

        The token for unknown characters is none where the tokenizer has a use for it.
        """
        asked = files.tokenizer.encode(self._template.render(_PROBE[:1], True)).ids
        control = files.special_ids | files.eos_ids | set(asked)
        strange = files.tokenizer.encode("\U000f0000", add_special_tokens=False).ids
        if files.id_of("unk_token") in strange:
            control -= set(strange)
        added = files.tokenizer.get_added_tokens_decoder()
        return {token: entry.content for token, entry in added.items() if token in control}

    def _find_end_token(self) -> int | None:
        """The control token that the template writes right after an answer, if it does so."""
        prompt = self._template.render(_PROBE[:1], True)
        text = self._template.render(_PROBE, False)
        answer = text.removeprefix(prompt)
        if answer == text or not answer.lstrip().startswith("b"):
            return None
        starts = self._control.starts(answer)
        if not starts or answer[: starts[0]].strip() != "b":
            return None
        ids = self._control.encode(answer[starts[0] :], False)
        return ids[0]
