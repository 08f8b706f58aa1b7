"""`promptflow._utils`: loggers and YAML, for the tools that took them from there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

logger = flow_logger = bulk_logger = logging.getLogger("flow")


def get_logger(name: str = "flow") -> logging.Logger:
    return logging.getLogger(name)


class LoggerFactory:
    @staticmethod
    def get_logger(name: str = "flow", *_: Any, **__: Any) -> logging.Logger:
        return logging.getLogger(name)


def load_yaml(source: Any) -> Any:
    """The value in a YAML file, or in an open one."""
    text = source.read() if hasattr(source, "read") else Path(source).read_text(encoding="utf-8")
    return load_yaml_string(text)


def load_yaml_string(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)  # pyright: ignore[reportUnknownMemberType]
