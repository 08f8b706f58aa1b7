"""Names of resources and references between them."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

# Azure ML's rule for endpoints and deployments: 3–32 characters.
EndpointName = Annotated[
    str,
    StringConstraints(
        min_length=3, max_length=32, pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"
    ),
]

# Data assets, models, jobs and connections: 1–255 characters that are safe in a path and a URL.
AssetName = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9][-_.a-zA-Z0-9]*$")
]


def split_version(reference: str) -> tuple[str, str | None]:
    """`('faq', '3')` from `faq:3`, `faq@3`, `azureml:faq:3` or `models:/faq/3`; no version: None.

    `latest` counts as no version.
    """
    text = reference.removeprefix("azureml:")
    if text.startswith("models:/"):
        name, _, version = text.removeprefix("models:/").strip("/").partition("/")
    else:
        name, _, version = text.replace("@", ":").partition(":")
    return name, None if version in ("", "latest") else version
