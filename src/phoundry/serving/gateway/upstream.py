"""Where a replica is reached."""

from __future__ import annotations

from multidict import CIMultiDict
from yarl import URL

from phoundry.serving.paths import CHAT, SCORE


class Upstream:
    """Addresses and headers of one replica, made once for a table rather than once a request."""

    def __init__(self, url: str, token: str) -> None:
        self.urls = {path: URL(url + path, encoded=True) for path in (CHAT, SCORE)}
        self._headers = CIMultiDict(
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        )

    def headers(self, request_id: str) -> CIMultiDict[str]:
        headers = self._headers.copy()
        headers["x-request-id"] = request_id
        return headers
