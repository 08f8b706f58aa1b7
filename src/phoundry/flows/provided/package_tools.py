"""The tools of promptflow-tools that are provided here, described as packages describe theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MODELS = ["AzureOpenAIConnection", "OpenAIConnection", "ServerlessConnection"]


def _input(*types: str, **more: Any) -> dict[str, Any]:
    return {"type": list(types), **more}


_VISION: Mapping[str, Any] = {
    "deployment_name": _input("string", default=""),
    "model": _input("string", default=""),
    "temperature": _input("double", default=1),
    "top_p": _input("double", default=1),
    "max_tokens": _input("int", default=512),
    "stop": _input("list", default=""),
    "presence_penalty": _input("double", default=0),
    "frequency_penalty": _input("double", default=0),
    "seed": _input("int", default=""),
    "detail": _input("string", default="auto"),
}


def _vision(module: str, owner: str | None, function: str, *connections: str) -> dict[str, Any]:
    return {
        "name": function,
        "type": "custom_llm",
        "module": f"promptflow.tools.{module}",
        "function": function,
        "inputs": {"connection": _input(*connections), **_VISION},
        **({"class_name": owner} if owner else {}),
    }


_HARMS = ("hate_category", "sexual_category", "self_harm_category", "violence_category")

OFFERED: Mapping[str, Mapping[str, Any]] = {
    "promptflow.tools.embedding.embedding": {
        "name": "Embedding",
        "type": "python",
        "module": "promptflow.tools.embedding",
        "function": "embedding",
        "inputs": {
            "connection": _input(*_MODELS),
            "deployment_name": _input("string", default=""),
            "model": _input("string", default=""),
            "input": _input("string"),
        },
    },
    "promptflow.tools.aoai_gpt4v.AzureOpenAI.chat": _vision(
        "aoai_gpt4v", "AzureOpenAI", "chat", "AzureOpenAIConnection"
    ),
    "promptflow.tools.openai_gpt4v.OpenAI.chat": _vision(
        "openai_gpt4v", "OpenAI", "chat", "OpenAIConnection"
    ),
    "promptflow.tools.llm_vision.llm_vision": _vision(
        "llm_vision", None, "llm_vision", "AzureOpenAIConnection", "OpenAIConnection"
    ),
    "promptflow.tools.serpapi.SerpAPI.search": {
        "name": "Serp API",
        "type": "python",
        "module": "promptflow.tools.serpapi",
        "class_name": "SerpAPI",
        "function": "search",
        "inputs": {
            "connection": _input("SerpConnection"),
            "engine": _input("string", default="google"),
            "location": _input("string", default=""),
            "num": _input("int", default=10),
            "query": _input("string"),
            "safe": _input("string", default="off"),
        },
    },
    "promptflow.tools.azure_content_safety.analyze_text": {
        "name": "Content Safety (Text Analyze)",
        "type": "python",
        "module": "promptflow.tools.azure_content_safety",
        "function": "analyze_text",
        "inputs": {
            "connection": _input("AzureContentSafetyConnection"),
            "text": _input("string"),
            **{name: _input("string", default="medium_sensitivity") for name in _HARMS},
        },
        "deprecated_tools": [
            "content_safety_text.tools.content_safety_text_tool.analyze_text",
        ],
    },
}
