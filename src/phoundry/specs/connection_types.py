"""Prompt flow's types of connections: which fields each has, and which of them is secret.

Plain data without pydantic: a flow's process reads it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class ConnectionKind:
    """`configs` are the fields in clear with their defaults (None: it may be left out; `REQUIRED`:
    it may not); `class_name` is what tools call the class."""

    class_name: str
    configs: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    secrets: tuple[str, ...] = ("api_key",)
    by_key_only: bool = True  # whether Azure's sign-in is not among its ways in

    @property
    def required(self) -> tuple[str, ...]:
        needed = [name for name, default in self.configs.items() if default == REQUIRED]
        return (*needed, *self.secrets)


_AZURE = {"api_base": REQUIRED, "api_type": "azure", "api_version": "2024-02-01"}
_KEY = {"auth_mode": "key"}

KINDS: Mapping[str, ConnectionKind] = {
    "custom": ConnectionKind("CustomConnection", secrets=()),
    "open_ai": ConnectionKind(
        "OpenAIConnection", {"organization": None, "base_url": None, "api_base": None}
    ),
    "azure_open_ai": ConnectionKind(
        "AzureOpenAIConnection", {**_AZURE, **_KEY, "resource_id": None}, by_key_only=False
    ),
    "serverless": ConnectionKind("ServerlessConnection", {"api_base": REQUIRED}),
    "serp": ConnectionKind("SerpConnection"),
    "cognitive_search": ConnectionKind(
        "CognitiveSearchConnection",
        {"api_base": REQUIRED, "api_version": "2023-11-01", **_KEY},
        by_key_only=False,
    ),
    "azure_ai_services": ConnectionKind(
        "AzureAIServicesConnection", {"endpoint": REQUIRED, **_KEY}, by_key_only=False
    ),
    "azure_content_safety": ConnectionKind(
        "AzureContentSafetyConnection",
        {"endpoint": REQUIRED, "api_version": "2023-10-01", "api_type": "Content Safety"},
    ),
    "form_recognizer": ConnectionKind(
        "FormRecognizerConnection",
        {"endpoint": REQUIRED, "api_version": "2023-07-31", "api_type": "Form Recognizer"},
    ),
    "qdrant": ConnectionKind("QdrantConnection", {"api_base": REQUIRED}),
    "weaviate": ConnectionKind("WeaviateConnection", {"api_base": REQUIRED}),
}
NO_SIGN_IN = "Signing in to Azure (Entra ID, AAD) is not supported here."
SIGN_IN = ("meid_token", "microsoft_entra_id", "aad")
# A custom connection for a class of the user's own: Prompt flow keeps these beside its configs.
STRONG_TYPE_KEYS: Mapping[str, str] = {
    "custom_type": "promptflow.connection.custom_type",
    "module": "promptflow.connection.module",
    "package": "promptflow.connection.package",
    "package_version": "promptflow.connection.package_version",
}


def kind_named(word: str) -> str:
    """`azure_open_ai` of `AzureOpenAI`, `azure-open-ai` and itself; other words as they are."""
    plain = word.replace("_", "").replace("-", "").replace(" ", "").lower()
    names = {name.replace("_", ""): name for name in KINDS}
    return names.get(plain.removesuffix("connection"), word)
