"""`phoundry completion`"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from phoundry.cli.arguments import confirm
from phoundry.cli.commands import COMPLETE_VARIABLE, alone
from phoundry.cli.output import Format, Printer


class Shell(StrEnum):
    bash = "bash"
    zsh = "zsh"
    fish = "fish"


@alone(
    example="phoundry completion bash --install\n"
    "phoundry completion fish > ~/.config/fish/completions/phoundry.fish"
)
def completion(
    shell: Annotated[Shell, typer.Argument(help="Which one.")],
    install: Annotated[
        bool, typer.Option("--install", help="Write it where the shell looks.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Print or install the completion of a shell.

    It completes commands, options and the names of what there is: data, jobs, models, endpoints,
    deployments, connections and flows.
    """
    text = script(shell.value)
    if not install:
        typer.echo(text)
        return
    out = Printer(Format.table)
    file, rc, lines = place(shell, Path.home())
    before = rc.read_text() if rc and rc.exists() else ""
    missing = [line for line in lines if line not in before.splitlines()]
    if file.exists() and file.read_text() == text and not missing:
        out.note(f"It is installed already: {file}")
        return
    also = f" and add to {rc}: {'; '.join(missing)}" if missing else ""
    confirm(f"Write {file}{also}?", yes=yes)
    from phoundry.files import write_atomic

    write_atomic(file, text)
    if rc and missing:
        # Through a link, as people have who keep their settings elsewhere, and with its mode.
        target = rc.resolve()
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        gap = "" if not before or before.endswith("\n") else "\n"
        write_atomic(target, before + gap + "\n".join(missing) + "\n", mode=mode)
    out.note(f"Written: {file}. It works in the next terminal.")


def script(shell: str) -> str:
    """What a shell has to read. It asks `phoundry` itself for what can follow."""
    from typer._completion_shared import get_completion_script

    return get_completion_script(
        prog_name="phoundry", complete_var=COMPLETE_VARIABLE, shell=shell
    ).strip()


def place(shell: Shell, home: Path) -> tuple[Path, Path | None, list[str]]:
    """Where the script goes, and the lines that the shell's own file needs, if any."""
    if shell is Shell.fish:
        return home / ".config" / "fish" / "completions" / "phoundry.fish", None, []
    if shell is Shell.zsh:
        folder = home / ".zfunc"
        lines = ["fpath+=~/.zfunc; autoload -Uz compinit; compinit"]
        return folder / "_phoundry", home / ".zshrc", lines
    file = home / ".bash_completions" / "phoundry.sh"
    return file, home / ".bashrc", ["source ~/.bash_completions/phoundry.sh"]
