"""The flow's requirements.txt: which packages it names, which of them are missing here."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from phoundry.flows.check.finding import Notes

NAME = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
FILE = "requirements.txt"


def check_requirements(root: Path, notes: Notes, name: str = FILE) -> None:
    """A warning a package that is not installed: the flow gets an environment with it."""
    for number, package in requirements(root / name):
        if package.startswith("promptflow"):
            continue  # Phoundry answers for it
        try:
            version(package)
        except PackageNotFoundError:
            notes.in_file(
                "warning",
                "RequirementNotInstalled",
                f"The package '{package}' is required and not installed here.",
                name,
                number,
                1,
                remedy="The first run makes an environment with it, or: pip install " + package,
                setup=True,
            )


def requirements(file: Path) -> list[tuple[int, str]]:
    """(line, package) of a requirements file; options, addresses and comments are passed over."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    found = ((number, NAME.match(line)) for number, line in enumerate(lines, start=1))
    return [(number, match[1].lower().replace("_", "-")) for number, match in found if match]


def required_names(root: Path) -> set[str]:
    return {package for _, package in requirements(root / FILE)}
