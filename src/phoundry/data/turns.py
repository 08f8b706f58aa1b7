"""Where each answer stands in a rendered conversation: learnt as it will be asked for.

An answer is learnt after its prompt: the messages before it as a replica renders them, with the
cue to answer. What is learnt is what the template writes when the conversation ends with that
answer, up to and with the token that ends the turn. In one text can be learnt together what stands
in it like that; where a template rewrites earlier turns, `parts` takes the conversation apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from phoundry.data.control import ControlTokens
from phoundry.data.steadiness import THOUGHTS, Kind, kind_of
from phoundry.data.template import ChatTemplate, Marked
from phoundry.errors import InvalidInput

_THOUGHT = re.compile("|".join(re.escape(text) for pair in THOUGHTS for text in pair))

# From so many answers on, reading the marks of two texts is less work than a prompt for each.
_MANY = 6


@dataclass(slots=True)
class View:
    """A conversation as its template takes it. `guarded`: control text in it was made inert.

    `answers` are the places of assistant messages that answer something, `learnt` those of them
    that are to be learnt. What was rendered is kept, because it is asked for more than once.
    """

    template: ChatTemplate
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] | None
    guarded: bool = False
    answers: Sequence[int] = ()
    learnt: Sequence[int] = ()
    _texts: dict[tuple[int, bool], str] = field(default_factory=dict[tuple[int, bool], str])

    def render(self, end: int, add_generation_prompt: bool) -> str:
        """The text of the first `end` messages."""
        key = end, add_generation_prompt
        text = self._texts.get(key)
        if text is None:
            text = self.template.render(self.messages[:end], add_generation_prompt, self.tools)
            self._texts[key] = text
        return text

    def prompt(self, place: int) -> str:
        """The text that the answer at `place` answers."""
        return self.render(place, True)

    def marked(self, end: int) -> Marked:
        """The first `end` messages with what the template's generation tags mark.

        Raises:
            InvalidInput: a training template writes another text than the model's own.
        """
        marked = self.template.marked(self.messages[:end], self.tools)
        if marked.text != self.render(end, False):
            raise InvalidInput(
                f"The training template that Phoundry has for {self.template.name} writes this "
                "conversation differently from the model's own chat template.",
                remedy="Please report it; until then give each answer a conversation of its own.",
            )
        return marked


@dataclass(frozen=True, slots=True)
class Passage:
    """A text to learn from, and where answers begin in it: place of the message → position."""

    text: str
    starts: Mapping[int, int]


class Turns:
    """Answers in what one template writes. `ends` are the ids of tokens that end a turn."""

    def __init__(self, template: ChatTemplate, control: ControlTokens, ends: frozenset[int]):
        self._template = template
        self._control = control
        self._ends = ends
        self._steady: dict[Kind, bool] = {}

    def passage(self, view: View) -> Passage:
        """The text in which all of `view.learnt` can be learnt; `starts` has these, and the other
        answers that follow their prompts in it.

        Raises:
            InvalidInput: the template writes one of them otherwise there than when it is asked for,
                without an end of its own, or not as its generation tags say.
        """
        # The last message, learnt alone, stands in the text as it is when it is asked for.
        alone = len(view.learnt) == 1 and view.learnt[0] == len(view.messages) - 1
        if not alone and not self.steady(view):
            return self._rewritten(view)
        if not alone and self._template.taught and len(view.answers) >= _MANY:
            return self._marked(view)
        text = view.render(len(view.messages), False)
        for place in view.learnt:
            if self._end(text, view, place) is None:
                return self._rewritten(view)
        starts = _starts(text, view)
        if self._template.tagged:
            self._check_tags(view, len(view.messages), starts)
        return Passage(text, starts)

    def parts(self, view: View) -> list[list[int]]:
        """The answers to be learnt, in groups whose answers one text can hold: for each the text
        of the messages up to its last answer. Mostly one group."""
        learnt = list(view.learnt)
        if len(learnt) < 2 or self.steady(view):
            return [learnt]
        groups: list[list[int]] = []
        while learnt:
            last = learnt[-1]
            text = self._learnt_text(view, last)
            group = [place for place in learnt[:-1] if self._stands(view, place, text)]
            groups.append([*group, last])
            learnt = [place for place in learnt[:-1] if place not in group]
        return groups[::-1]

    def steady(self, view: View) -> bool:
        """Whether the template leaves what it wrote as it is while such conversations go on."""
        kind = kind_of(view.messages, view.tools)
        known = self._steady.get(kind)
        if known is None:
            known = self._steady[kind] = self._try(kind)
        return known

    def _try(self, kind: Kind) -> bool:
        messages, tools = kind.probe()
        places = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        view = View(self._template, messages, tools, answers=places, learnt=places)
        try:
            text = view.render(len(messages), False)
            return all(self._stands(view, place, text) for place in places)
        except InvalidInput:  # not for such conversations: each is looked at for itself
            return False

    def _rewritten(self, view: View) -> Passage:
        """The text up to the last answer to be learnt: nothing after it has a part in learning."""
        last = view.learnt[-1]
        text = self._learnt_text(view, last)
        for place in view.learnt:
            if not self._stands(view, place, text):
                self._refuse(place)
        starts = _starts(text, view)
        tags = self._template.tagged or self._template.taught
        if tags and text == view.render(last + 1, False):
            self._check_tags(view, last + 1, starts)
        return Passage(text, starts)

    def _learnt_text(self, view: View, last: int) -> str:
        """The conversation up to an answer, beginning with that answer's prompt."""
        text = view.render(last + 1, False)
        prompt = view.prompt(last)
        return text if text.startswith(prompt) else prompt + self._turn(view, last)

    def _stands(self, view: View, place: int, text: str) -> bool:
        prompt = view.prompt(place)
        return text.startswith(prompt) and text.startswith(self._turn(view, place), len(prompt))

    def _turn(self, view: View, place: int) -> str:
        """What the model must say at `place`, with its end: as if the conversation ended there."""
        text = view.render(place + 1, False)
        start = len(view.prompt(place))
        end = self._end(text, view, place)
        if end is None and self._template.taught and not text.startswith(view.prompt(place)):
            # The prompt is changed by being answered; the tags say which part is the answer.
            start, end = view.marked(place + 1).spans[-1]
        if end is None:
            self._refuse(place)
        return text[start:end]

    def _marked(self, view: View) -> Passage:
        """As the training template has it: two texts instead of one for each answer."""
        whole = view.marked(len(view.messages))
        places = [i for i, message in enumerate(view.messages) if message["role"] == "assistant"]
        if len(whole.spans) != len(places):
            self._refuse_tags(places[0])
        spans = {place: s for place, s in zip(places, whole.spans, strict=True) if place > 0}
        for place in view.learnt:
            start, end = spans[place]
            if self._turn_end(whole.text, start, view.messages[place]) != end:
                self._refuse_tags(place)
        last = view.answers[-1]
        if whole.text[: spans[last][0]] != view.prompt(last):
            self._refuse(last)
        return Passage(whole.text, {place: start for place, (start, _) in spans.items()})

    def _check_tags(self, view: View, end: int, starts: Mapping[int, int]) -> None:
        """The template's generation tags must mark what is learnt here.

        They may take in what a replica writes before the model speaks (SmolLM3's cue to answer is
        among them), and white space after the end of the turn: the model says neither.
        """
        marked = view.marked(end)
        among = sum(message["role"] == "assistant" for message in view.messages[:end])
        if len(marked.spans) > among:
            self._refuse_tags(view.learnt[0])
        for place in view.learnt:
            start = starts[place]
            stop = self._turn_end(marked.text, start, view.messages[place]) or start
            cue = _common(view.render(place, False), view.prompt(place))
            if not any(
                cue <= begin <= start and stop <= after and not marked.text[stop:after].strip()
                for begin, after in marked.spans
            ):
                self._refuse_tags(place)

    def _end(self, text: str, view: View, place: int) -> int | None:
        """Where the answer at `place` ends in `text`; None if it does not follow its prompt."""
        prompt = view.prompt(place)
        if not text.startswith(prompt):
            return None
        return self._turn_end(text, len(prompt), view.messages[place])

    def _turn_end(self, text: str, start: int, message: Mapping[str, Any]) -> int | None:
        """Where the turn that begins at `start` ends, with its end token; None if `message` is not
        in it as a whole, or nothing ends it."""
        calls = message.get("tool_calls", ())
        # A call may begin with a control token of its own; it has no end but that of a turn.
        found = self._control.first(text, start, self._ends if calls else None)
        if found is None:
            return None
        turn = text[start : found[0]]
        words = [part.strip() for part in _THOUGHT.split(message["content"])]
        words += [call["function"]["name"] for call in calls]
        return found[1] if all(word in turn for word in words) else None

    def _refuse(self, place: int) -> NoReturn:
        raise InvalidInput(
            f"The chat template of {self._template.name} does not write messages[{place}] as it "
            "stands after the prompt that asks for it: it changes earlier turns when later ones "
            "follow.",
            remedy="Give each such answer a conversation of its own, give all but the last the "
            "weight 0, or use another chat template.",
        )

    def _refuse_tags(self, place: int) -> NoReturn:
        raise InvalidInput(
            f"The generation tags of the chat template of {self._template.name} mark another text "
            f"than what the model must say for messages[{place}].",
            remedy="Put {% generation %} after the cue to answer and {% endgeneration %} after the "
            "token that ends the turn, or take the tags out.",
        )


def _starts(text: str, view: View) -> dict[int, int]:
    """Answers that follow their prompts in `text`. One that isn't learnt may be rewritten."""
    prompts = {place: view.prompt(place) for place in view.answers}
    return {place: len(prompt) for place, prompt in prompts.items() if text.startswith(prompt)}


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = zip(one, other, strict=False)
    unlike = (place for place, (mine, theirs) in enumerate(pairs) if mine != theirs)
    return next(unlike, min(len(one), len(other)))
