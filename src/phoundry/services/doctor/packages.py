"""Checks of what is installed. Nothing is imported for it: torch alone would take seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata

from phoundry.services.doctor.findings import Place, ok, warn
from phoundry.specs.care import Check

PURPOSES = {
    "server": "the control plane: jobs, endpoints, data assets",
    "train": "fine-tuning and the registry of models",
    "serve": "endpoints",
    "flow": "flows behind an address",
    "data": "Parquet, zstd and data sets of the hub",
}
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)([^;]*);.*extra\s*==\s*['\"]([\w-]+)['\"]")


def extras(place: Place) -> Iterator[Check]:
    found = required()
    for extra, purpose in PURPOSES.items():
        have = {name: version_of(name) for name in found.get(extra, [])}
        missing = [name for name, version in have.items() if version is None]
        if not have:
            remedy = f'Install Phoundry again: pip install --upgrade "phoundry[{extra}]"'
            yield warn(f"extra {extra}", "not known to this older installation", remedy)
        elif missing:
            remedy = f'Install it with: pip install "phoundry[{extra}]"'
            told = f"{', '.join(missing)} not installed; needed for {purpose}"
            yield warn(f"extra {extra}", told, remedy)
        else:
            yield ok(f"extra {extra}", ", ".join(f"{name} {v}" for name, v in have.items()))


def required() -> dict[str, list[str]]:
    """The packages of each extra, as this installation of Phoundry declares them."""
    found: dict[str, list[str]] = {}
    for line in metadata.requires("phoundry") or []:
        if match := _REQUIREMENT.match(line):
            name, _, extra = match.groups()
            found.setdefault(extra, []).append(name)
    return found


def version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def torch(place: Place) -> Iterator[Check]:
    version = version_of("torch")
    if version is None:
        remedy = 'Install it with: pip install "phoundry[train]"'
        yield warn("torch", "not installed; needed for fine-tuning", remedy)
        return
    # torch itself would tell more, after seconds; the packages beside it tell how it was built.
    accelerated = [dist for dist in ("nvidia-cublas", "triton") if version_of(dist)]
    build = "with CUDA libraries" if accelerated else "for the processor"
    yield ok("torch", f"{version}, built {build}")
