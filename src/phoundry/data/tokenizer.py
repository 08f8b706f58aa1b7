"""The one renderer of chats: what training learns from and what a replica feeds its engine.

Both use this class, so that a model is asked in exactly the form in which it was taught. It needs
`tokenizers` and `jinja2` alone: no torch, no transformers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer

from phoundry.data.checkpoint import TokenizerFiles, read_tokenizer_files
from phoundry.data.control import ControlTokens, EncodedText
from phoundry.data.places import NEEDED, TemplatePlaces
from phoundry.data.row import ChatMessage
from phoundry.data.template import ChatTemplate, template_message
from phoundry.data.turns import Turns, View
from phoundry.errors import InvalidInput

_PROBE: tuple[ChatMessage, ...] = (
    ChatMessage(role="user", content="a"),
    ChatMessage(role="assistant", content="b"),
)
# The probe's answer as a template may write it: Qwen3's puts an empty thought before one.
_ANSWERED = re.compile(r"\s*(?:<think>\s*</think>\s*)?b\s*")
# Every byte that UTF-8 has: SmolLM2's vocabulary, for one, lacks some of them.
_STRANGE = "".join(
    map(
        chr,
        (
            *range(0x100),
            *range(0x100, 0x800, 0x40),
            *range(0x800, 0xD800, 0x800),
            *range(0xE000, 0x10000, 0x800),
            *range(0x10000, 0x110000, 0x10000),
        ),
    )
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
    tokens; no content can ever encode to one of them. `tools` are OpenAI's function tools.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        self.name = files.name
        self.vocab_size: int = files.tokenizer.get_vocab_size()
        self.bos_id = files.id_of("bos_token")
        self._tokenizer: Tokenizer = files.tokenizer
        self._template = ChatTemplate(files.template, files.name, files.tokens)
        self._add_bos = files.add_bos
        self._control = self._control_tokens(files)
        self.end_token_id = self._find_end_token()
        ends = set(files.eos_ids)
        if self.end_token_id is not None:
            ends.add(self.end_token_id)
        self.end_token_ids = tuple(sorted(ends))
        self._turn_ends = frozenset(ends)
        self._turns = Turns(self._template, self._control, self._turn_ends)
        self._places = TemplatePlaces(self._template)
        added = files.tokenizer.get_added_tokens_decoder()
        self.highest_id = max(self.vocab_size - 1, *added, 0)
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

    def render_text(
        self,
        messages: Sequence[ChatMessage],
        add_generation_prompt: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """The template's text, for people to read. Ids come from the two methods below.

        Raises:
            InvalidInput: the template refuses the conversation.
        """
        shown = [template_message(message) for message in messages]
        return self._template.render(shown, add_generation_prompt, tools)

    def unseen(
        self, messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[str]:
        """What the conversation has and the model would not see: parts that the template leaves
        out, of "tools", "tool calls", "tool results" and "system messages"."""
        return self._places.lost(messages, tools)

    def render_prompt(
        self, messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """Ids after which the model answers: exactly what a replica feeds its engine.

        Raises:
            InvalidInput: the template refuses the conversation, or leaves out its tool calls or
                their results.
        """
        view = self._view(messages, tools)
        text = view.render(len(messages), True)
        prompts = map(view.prompt, view.answers)
        # A template that rewrites earlier turns is no fault here: the model is asked as it says.
        starts = [len(prompt) for prompt in prompts if text.startswith(prompt)]
        return self._encode(text, starts, view.guarded)[0]

    def render_example(
        self, messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> Example:
        """Ids and loss mask: for each assistant turn, what the model must say after the prompt of
        the messages before it (the ids of `render_prompt`), up to and with its end token. A turn
        with the weight 0 is there, and not learnt.

        Raises:
            InvalidInput: the template refuses the conversation, leaves out its tool calls or their
                results, rewrites earlier turns when later ones follow, or ends turns with no token
                of their own; or no assistant turn answers and is to be learnt.
        """
        if self.end_token_id is None:
            raise InvalidInput(
                f"The chat template of {self.name} ends assistant turns with no token of their "
                "own, so that a model could not learn to stop.",
                remedy="Use a template that writes the end-of-sequence token after each answer.",
            )
        view = self._view(messages, tools)
        if not view.learnt:
            raise InvalidInput(
                "The conversation has no assistant message that answers another and is to be "
                "learnt, so there is nothing to learn from it."
            )
        passage = self._turns.passage(view)
        ids, starts = self._encode(passage.text, list(passage.starts.values()), view.guarded)
        mask = [False] * len(ids)
        ends = dict.fromkeys(view.answers, 0)
        for place, start in zip(passage.starts, starts, strict=True):
            # A call may begin with a control token of its own; it has no end but that of a turn.
            among = self._turn_ends if "tool_calls" in messages[place] else self._control.ids
            end = next((t for t in range(start, len(ids)) if ids[t] in among), len(ids) - 1) + 1
            ends[place] = end
            if place in view.learnt:
                mask[start:end] = [True] * (end - start)
        return Example(ids, mask, list(ends.values()))

    def parts(
        self, messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[Sequence[ChatMessage]]:
        """The conversation as conversations that `render_example` can each learn from at once.

        Nearly always it is one, as it was. A template that rewrites earlier turns (Qwen3's takes
        out old thoughts) is asked otherwise at every turn: then each part is the messages up to an
        answer, in which what is learnt elsewhere, or nowhere, has the weight 0. Every answer that
        is to be learnt is learnt in one part.

        Raises:
            InvalidInput: as `render_example`.
        """
        if len(_learnt(messages)) < 2:
            return [messages]
        groups = self._turns.parts(self._view(messages, tools))
        if len(groups) == 1:
            return [messages]
        return [_part(messages, group) for group in groups]

    def _view(
        self, messages: Sequence[ChatMessage], tools: Sequence[Mapping[str, Any]] | None
    ) -> View:
        """The conversation as the template takes it, with control text made inert."""
        for part in self._places.lost(messages, None):
            if part in NEEDED:
                raise InvalidInput(
                    f"The conversation has {part}, and the chat template of {self.name} has no "
                    "place for them.",
                    remedy="Choose a model that knows tools, or leave such conversations out.",
                )
        shown = [template_message(message) for message in messages]
        inert, inert_tools, guarded = self._control.guard(shown, tools)
        places = _answers(messages)
        learnt = [place for place in places if messages[place].get("weight", 1)]
        return View(self._template, inert, inert_tools, guarded, places, learnt)

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

    def _control_tokens(self, files: TokenizerFiles) -> ControlTokens:
        """Control tokens: those marked special, those that end a turn, those a prompt is made of.

        Line breaks, which Gemma's tokenizer has tokens for, are everybody's. The token for unknown
        characters is ambiguous where the tokenizer has a use for it.
        """
        asked = files.tokenizer.encode(self._template.render(_PROBE[:1], True)).ids
        control = files.special_ids | files.eos_ids | set(asked)
        strange = files.tokenizer.encode(_STRANGE, add_special_tokens=False).ids
        added = files.tokenizer.get_added_tokens_decoder()
        texts = {
            token: entry.content
            for token, entry in added.items()
            if token in control and entry.content.strip()
        }
        unknown = files.id_of("unk_token")
        ambiguous = {token for token in texts if token == unknown and token in strange}
        return ControlTokens(files.tokenizer, texts, frozenset(ambiguous))

    def _find_end_token(self) -> int | None:
        """The control token that the template writes right after an answer, if it does so."""
        prompt = self._template.render(_PROBE[:1], True)
        text = self._template.render(_PROBE, False)
        answer = text.removeprefix(prompt)
        starts = self._control.starts(answer)
        if answer == text or not starts or not _ANSWERED.fullmatch(answer[: starts[0]]):
            return None
        ids = self._control.encode(answer[starts[0] :], False)
        return ids[0]


def _answers(messages: Sequence[ChatMessage]) -> list[int]:
    """Places of assistant messages that answer something."""
    return [i for i, message in enumerate(messages) if i and message["role"] == "assistant"]


def _learnt(messages: Sequence[ChatMessage]) -> list[int]:
    return [place for place in _answers(messages) if messages[place].get("weight", 1)]


def _part(messages: Sequence[ChatMessage], learnt: Sequence[int]) -> list[ChatMessage]:
    """The messages up to the last of `learnt`, in which no other answer is learnt."""
    others = set(_answers(messages)) - set(learnt)
    return [
        cast("ChatMessage", {**message, "weight": 0}) if place in others else message
        for place, message in enumerate(messages[: learnt[-1] + 1])
    ]
