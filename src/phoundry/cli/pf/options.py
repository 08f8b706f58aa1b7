"""One option of Prompt flow's command lines, and those that several verbs have."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True, slots=True)
class Option:
    """`ignored`: taken without effect, and why (`-`: without a word). Help is hidden then."""

    name: str
    flags: tuple[str, ...]
    help: str = ""
    required: bool = False
    flag: bool = False
    many: bool = False
    choices: tuple[str, ...] = ()
    least: int | None = None  # of an option that takes a number
    ignored: str = ""

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        told = argparse.SUPPRESS if self.ignored else self.help or None
        more: dict[str, Any] = {"help": told}
        if not self.flags[0].startswith("-"):
            parser.add_argument(self.name, nargs="+", metavar="key=value")
            return
        if self.flag:
            more["action"] = "store_true"
        elif self.many:
            # Given twice, both count: the last one alone would lose what a script wrote.
            more |= {"nargs": "*", "action": "extend", "metavar": "key=value"}
        else:
            more |= {"metavar": self.name.upper()}
        if self.least is not None:
            more |= {"type": partial(_number, least=self.least)}
        if self.choices:
            more |= {"choices": self.choices, "metavar": None}
        parser.add_argument(*self.flags, dest=self.name, required=self.required, **more)


def _number(text: str, least: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
        raise argparse.ArgumentTypeError(f"'{text[:50]}' is no whole number from {least} on")
    return int(text)


OPTIONS: dict[str, Option] = {
    option.name: option
    for option in (
        Option("node", ("--node",), help="Run this node alone."),
        Option("variant", ("--variant",), help="${node.variant} to run with."),
        Option("inputs", ("--inputs",), many=True, help="name=value, or a file of JSON."),
        Option(
            "environment_variables",
            ("--environment-variables",),
            many=True,
            help="name=value; '${connection.key}' is that key's value.",
        ),
        Option("connections", ("--connections",), many=True, help="node.input=connection."),
        Option("init", ("--init",), many=True, help="name=value for a flex flow's class."),
        Option("max", ("-r", "--max-results"), help="How many to show.", least=1),
        Option("all", ("--all-results",), flag=True, help="Show all."),
        Option("archived", ("--archived-only",), flag=True, help="Only archived ones."),
        Option("with_archived", ("--include-archived",), flag=True, help="Archived ones, too."),
        Option("output", ("-o", "--output"), choices=("table", "json"), help="json."),
    )
}
