"""Flows to start from. The folders beside this file are the flows, with `.template` after each
file's name; what is made from them is a Prompt flow folder and nothing else."""

from __future__ import annotations

from pathlib import Path

from phoundry.errors import Conflict, NotFound, UsageError
from phoundry.files import write_atomic
from phoundry.flows.document import FILE_NAMES

SUFFIX = ".template"
_HERE = Path(__file__).parent


def template_names() -> list[str]:
    return sorted(item.name for item in _HERE.iterdir() if any(item.glob(f"*{SUFFIX}")))


def init_flow(
    path: Path | str,
    template: str = "chat",
    *,
    connection: str | None = None,
    model: str | None = None,
    system: str | None = None,
    force: bool = False,
) -> Path:
    """Make the flow `template` in the folder `path`; gives the flow's file.

    `connection` and `model` are written into the llm node, which otherwise takes the only fitting
    connection and that connection's model; `system` begins every chat. With `force` the files of
    the template replace those of the same name; others stay.

    Raises:
        NotFound: no such template.
        Conflict: `path` is a file, or a folder with something in it.
        UsageError: an option that the template has no place for.
    """
    folder = Path(path)
    if template not in template_names():
        raise NotFound.named("flow template", template, template_names())
    if folder.exists() and not folder.is_dir():
        raise Conflict(f"{folder} is a file.", remedy="Give a folder that is new or empty.")
    if folder.exists() and any(folder.iterdir()) and not force:
        raise Conflict(
            f"{folder} is not empty.",
            remedy="Give a folder that is new or empty, or --force to replace the flow's files.",
        )
    texts = _render(template, connection=connection, model=model, system=system)
    # The flow's file last: a folder that was left half-made holds no flow.
    for name in sorted(texts, key=lambda name: name in FILE_NAMES):
        write_atomic(folder / name, texts[name])
    return folder / FILE_NAMES[0]


def _render(template: str, **options: str | None) -> dict[str, str]:
    """The files of `template` by name."""
    from jinja2 import Environment, meta

    # Other delimiters than the prompts' own, which must arrive as they are.
    environment = Environment(
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML and prompts, not HTML
    )
    files = {item.name.removesuffix(SUFFIX): item for item in (_HERE / template).glob(f"*{SUFFIX}")}
    sources = {name: item.read_text(encoding="utf-8") for name, item in files.items()}
    places: set[str] = set()
    for source in sources.values():
        places |= meta.find_undeclared_variables(environment.parse(source))
    for name, value in options.items():
        if value is not None and name not in places:
            raise UsageError(
                f"The template '{template}' has no place for --{name}.", remedy="Leave it out."
            )
    return {
        name: environment.from_string(source).render(**options) for name, source in sources.items()
    }
