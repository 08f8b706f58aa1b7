"""Who of an endpoint's deployments gets which requests: the rules that need the store."""

from __future__ import annotations

from collections.abc import Iterable

from phoundry.errors import Fault, InvalidInput
from phoundry.specs.endpoint import Traffic, check_apart
from phoundry.store.tables import DeploymentRow


def check(
    endpoint: str, deployments: Iterable[DeploymentRow], *, live: Traffic, mirror: Traffic
) -> None:
    """Whether `endpoint` can share its requests out so.

    Raises:
        InvalidInput: every share of what is not deployed, and what would be live and a mirror.
    """
    known = [row.name for row in deployments if row.state != "Deleting"]
    unknown = sorted({*live, *mirror} - set(known))
    if unknown:
        faults = [
            Fault(key, f"'{name}' is not deployed")
            for key, shares in (("traffic", live), ("mirror_traffic", mirror))
            for name in sorted(set(shares) & set(unknown))
        ]
        raise InvalidInput(
            f"Endpoint '{endpoint}' has no deployment {', '.join(unknown)}.",
            faults=faults,
            remedy=f"It has: {', '.join(known) or 'none'}.",
        )
    try:
        check_apart(live, mirror)
    except ValueError as error:
        raise InvalidInput(
            f"Endpoint '{endpoint}' cannot share its requests out so.",
            faults=[Fault("mirror_traffic", str(error))],
            remedy=f"Change both at once: `phoundry endpoint update {endpoint} --traffic NAME=100 "
            "--mirror OTHER=10`, or `--mirror none`.",
        ) from None


def shares(traffic: Traffic) -> Traffic:
    """Without those that have nothing."""
    return {name: percent for name, percent in traffic.items() if percent}


def words(traffic: Traffic) -> str:
    """`blue 90 %, green 10 %`, or `none`."""
    return ", ".join(f"{name} {percent} %" for name, percent in traffic.items()) or "none"
