"""`promptflow.tools.serpapi` and `.azure_content_safety`, over plain HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from phoundry.flows.document import is_mapping
from phoundry.flows.errors import FlowUserError
from phoundry.flows.provided.connections import Connection
from phoundry.flows.provided.core import ToolProvider
from phoundry.flows.tools.http import SHOWN, client_for, reason_of

SERP = "https://serpapi.com/search"
OK, INTERNAL = 200, 500
# From this severity on a text is rejected; None: never.
SEVERITIES: Mapping[str, int | None] = {
    "disable": None,
    "low_sensitivity": 6,
    "medium_sensitivity": 4,
    "high_sensitivity": 2,
}


class SerpAPIUserError(FlowUserError):
    code = "SerpAPIUserError"


class SerpAPISystemError(FlowUserError):
    code = "SerpAPISystemError"


class AzureContentSafetyInputValueError(FlowUserError):
    code = "AzureContentSafetyInputValueError"


class AzureContentSafetySystemError(FlowUserError):
    code = "AzureContentSafetySystemError"


class SerpAPI(ToolProvider):
    """`SerpAPI(connection).search(query=…)`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def search(
        self,
        query: str,
        location: str | None = None,
        safe: Any = "off",
        num: int = 10,
        engine: Any = "google",
    ) -> Any:
        """What the engine found, as Serp API answers.

        Raises:
            SerpAPIUserError, SerpAPISystemError: refused, or not reached.
        """
        engine, safe = _text(engine), _text(safe)
        google = engine.lower() == "google"
        asked: dict[str, Any] = {"q": query, "location": location, "engine": engine}
        if safe == "active":
            asked |= {"safe": "Active"} if google else {"safeSearch": "Strict"}
        if int(num) > 0:
            asked["num" if google else "count"] = int(num)
        asked["api_key"] = self.connection.api_key
        asked = {name: value for name, value in asked.items() if value not in (None, "")}
        address = self.connection.get("api_base") or SERP
        kinds = SerpAPIUserError, SerpAPISystemError
        return _answer("GET", str(address), kinds, params=asked)


def search(connection: Connection, query: str, **options: Any) -> Any:
    return SerpAPI(connection).search(query, **options)


def analyze_text(
    connection: Connection,
    text: str,
    hate_category: Any = "medium_sensitivity",
    sexual_category: Any = "medium_sensitivity",
    self_harm_category: Any = "medium_sensitivity",
    violence_category: Any = "medium_sensitivity",
) -> dict[str, Any]:
    """`{suggested_action, action_by_category}`, each `Accept` or `Reject`.

    Raises:
        AzureContentSafetyInputValueError: a sensitivity that is none, or a text that is refused.
        AzureContentSafetySystemError: the service was not reached, or failed.
    """
    wanted = {
        "Hate": hate_category,
        "SelfHarm": self_harm_category,
        "Sexual": sexual_category,
        "Violence": violence_category,
    }
    limits = {name: _limit(name, value) for name, value in wanted.items()}
    answer = _answer(
        "POST",
        f"{connection.endpoint.rstrip('/')}/contentsafety/text:analyze",
        (AzureContentSafetyInputValueError, AzureContentSafetySystemError),
        params={"api-version": str(connection.api_version)},
        headers={"Ocp-Apim-Subscription-Key": str(connection.api_key)},
        json={"text": text, "blocklistNames": []},
    )
    found = _severities(answer)
    actions = {
        name: "Reject" if limit is not None and found.get(name, 0) >= limit else "Accept"
        for name, limit in limits.items()
    }
    overall = "Reject" if "Reject" in actions.values() else "Accept"
    return {"suggested_action": overall, "action_by_category": actions}


def _severities(answer: Any) -> dict[str, int]:
    """By category: of `categoriesAnalysis`, or of the older `hateResult` and its like."""
    items: list[Any] = answer.get("categoriesAnalysis") or []
    found = {str(item.get("category")): int(item.get("severity") or 0) for item in items}
    older = {"Hate": "hateResult", "SelfHarm": "selfHarmResult", "Sexual": "sexualResult"}
    for name, key in {**older, "Violence": "violenceResult"}.items():
        if is_mapping(answer.get(key)):
            found[name] = int(answer[key].get("severity") or 0)
    return found


def _limit(name: str, value: Any) -> int | None:
    word = _text(value)
    if word not in SEVERITIES:
        raise AzureContentSafetyInputValueError(
            f"'{word}' is no sensitivity for {name}.", remedy=f"Use one of {', '.join(SEVERITIES)}."
        )
    return SEVERITIES[word]


def _text(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _answer(
    method: str, address: str, kinds: tuple[type[FlowUserError], type[FlowUserError]], **asked: Any
) -> Any:
    """The JSON object of an answer; `kinds` are the caller's fault and the service's."""
    import httpx

    try:
        response = client_for(address).request(method, address, timeout=60, **asked)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise kinds[1](f"{address} could not be reached: {type(error).__name__}.") from None
    try:
        body: Any = response.json()
    except ValueError:
        body = None
    if response.status_code == OK and is_mapping(body):
        return body
    said: Any = body.get("error") if is_mapping(body) else None
    kind = kinds[1] if response.status_code >= INTERNAL else kinds[0]
    reason = reason_of(said) if said else response.text[:SHOWN]
    raise kind(f"{address} answered {response.status_code}: {reason}")
