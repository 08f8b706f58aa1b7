"""Is everything there that Phoundry needs? Looked at in short, separate checks.

Nothing is started, made or migrated, and no check can stop another: what one of them stumbles over
is its result. A base install without any extra can be checked, too; so whatever needs one is
imported inside the check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from phoundry.services.doctor import home, machine, network, packages
from phoundry.services.doctor.findings import Place, fail
from phoundry.settings import Home, Settings
from phoundry.specs.care import Check

CHECKS: tuple[tuple[str, Callable[[Place], Iterable[Check]]], ...] = (
    ("python", machine.python),
    ("platform", machine.platform),
    ("cores", machine.cores),
    ("memory", machine.memory),
    ("gpu", machine.gpu),
    ("clock", machine.clock),
    ("packages", packages.extras),
    ("torch", packages.torch),
    ("home", home.folder),
    ("disk", home.disk),
    ("key file", home.key_file),
    ("database", home.database),
    ("control plane", network.control_plane),
    ("ports", network.ports),
    ("hub", network.hub),
)


def examine(at: Home, *, offline: bool = False) -> list[Check]:
    """Every check, in an order in which they are read. `offline`: nothing beyond this machine."""
    place = Place(at, Settings(), offline)
    return [check for name, look in CHECKS for check in _apart(name, look, place)]


def _apart(name: str, look: Callable[[Place], Iterable[Check]], place: Place) -> list[Check]:
    try:
        return list(look(place))
    except Exception as error:  # noqa: BLE001 - a doctor who faints helps nobody: it is said
        remedy = "If what it names is in order, please report this as a fault of Phoundry."
        return [fail(name, f"could not be checked: {type(error).__name__}: {error}", remedy)]
