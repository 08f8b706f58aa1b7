"""After a start: waiting until the deployments that served before serve again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from phoundry.client.waiting import pause
from phoundry.errors import Unavailable

if TYPE_CHECKING:
    from phoundry.client.client import Client

BACK_SECONDS = 60.0
PAUSE = 0.2


def wait_until_back(client: Client, seconds: float = BACK_SECONDS) -> bool:
    """Whether every deployment that has not failed answers at the gateway, within `seconds`.

    A replica loads its model first, and the gateway is told after that: only asking it is sure.
    """
    deadline = time.monotonic() + seconds
    for endpoint in client.endpoints.list():
        key = client.endpoints.secret(endpoint)
        for name in endpoint.deployments:
            while not _served(endpoint.scoring_uri, key, name):
                state = client.deployments.show(endpoint.name, name).provisioning_state
                if state == "Failed":
                    break
                if time.monotonic() > deadline:
                    return False
                pause(PAUSE)
    return True


def _served(scoring_uri: str, key: str, deployment: str) -> bool:
    """Whether a replica of `deployment` is reached: it refuses an empty question itself."""
    import httpx

    headers = {"Authorization": f"Bearer {key}", "azureml-model-deployment": deployment}
    try:
        with httpx.Client(trust_env=False, timeout=10) as http:
            answer = http.post(scoring_uri, json={}, headers=headers)
    except httpx.TransportError:
        return False
    return answer.status_code != Unavailable.status
