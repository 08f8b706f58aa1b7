"""`promptflow.contracts.types` and the settings classes of `promptflow.entities`."""

from __future__ import annotations

from typing import Any


class Secret(str):
    __slots__ = ()


class PromptTemplate(str):
    __slots__ = ()


class FilePath(str):
    __slots__ = ()


class AssistantDefinition(dict[str, Any]):
    pass


class _Settings:
    """Keeps what it is given; only editors read it."""

    def __init__(self, **settings: Any) -> None:
        self.__dict__.update(settings)


class InputSetting(_Settings):
    pass


class DynamicList(_Settings):
    pass
