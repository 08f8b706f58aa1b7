"""What deployments were asked and answered, as they collected it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from phoundry.client.transport import Transport, segment
from phoundry.client.waiting import LONGEST, pause
from phoundry.specs.collection import CollectedPage, Exchange


class Collected:
    """`client.collected`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def page(
        self,
        endpoint: str,
        name: str,
        *,
        since: datetime | None = None,
        after: str = "",
        limit: int = 200,
        settled: bool = False,
    ) -> CollectedPage:
        """The next exchanges of a deployment, oldest first; `after` is the `next` of a page.

        `settled` leaves out those of the last second, so that going on misses none.

        Raises:
            NotFound: nothing was ever collected.
        """
        path = f"/api/endpoints/{segment(endpoint)}/deployments/{segment(name)}/data"
        params: dict[str, Any] = {"after": after or None, "limit": limit, "settled": settled}
        params["since"] = since.isoformat() if since else None
        return self._transport.one(CollectedPage, "GET", path, params=params)

    def follow(
        self, endpoint: str, name: str, *, since: datetime | None = None, forever: bool = False
    ) -> Iterator[Exchange]:
        """Every exchange of a deployment, oldest first; `forever`: also those that come."""
        after = ""
        while True:
            page = self.page(endpoint, name, since=since, after=after, settled=forever)
            yield from page.exchanges
            after = page.next
            if page.finished:
                if not forever:
                    return
                pause(LONGEST)
