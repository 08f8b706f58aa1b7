"""Checks of what listens and of what is asked: control plane, ports, hub."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from phoundry.compute import machine, workers
from phoundry.errors import UsageError
from phoundry.files import read_json
from phoundry.hub.place import without_password
from phoundry.services import addresses
from phoundry.services.doctor.findings import Place, fail, ok, warn
from phoundry.settings import DEFAULT_GATEWAY_PORT, DEFAULT_PORT, Home
from phoundry.specs.care import Check

HUB = "https://huggingface.co"
ASK_SECONDS = 3.0
SKEW_SECONDS = 300.0


def control_plane(place: Place) -> Iterator[Check]:
    import httpx

    record = _running(place.home)
    if record is None:
        if place.home.server_file.exists():
            remedy = "`phoundry up` starts it again; what it ran is adopted."
            yield warn("control plane", "ended without saying so (killed, or no power)", remedy)
        else:
            yield ok("control plane", "does not run (`phoundry up` starts it)")
        return
    found = f"runs at {record['url']} (pid {record['pid']})"
    try:
        answer = httpx.get(f"{record['url']}/healthz", timeout=ASK_SECONDS, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        remedy = f"Its log is {place.home.logs / 'server.log'}; `phoundry down` and `up` again."
        yield fail("control plane", f"{found} but does not answer: {error}", remedy)
    else:
        yield ok("control plane", found)


def _running(home: Home) -> dict[str, Any] | None:
    """What server.json says, if the process that wrote it lives."""
    record: dict[str, Any] = read_json(home.server_file) or {}
    return record if record and workers.recorded_lives(home.server_lock, record) else None


def ports(place: Place) -> Iterator[Check]:
    used = addresses.ports(place.home)
    server = _running(place.home)
    gateway = workers.inspect(place.home.routes.parent)
    ours: dict[str, int | None] = {
        "port": urlsplit(server["url"]).port if server else None,
        "gateway_port": (gateway.ready or {}).get("port") if gateway.running else None,
    }
    defaults = {"port": DEFAULT_PORT, "gateway_port": DEFAULT_GATEWAY_PORT}
    for kind, default in defaults.items():
        try:
            named = getattr(place.settings, kind)
        except UsageError as error:
            yield fail(kind.replace("_", " "), error.message, error.remedy or "")
            continue
        fixed: int | None = named or used.get(kind)
        yield _port(place.settings.host, kind.replace("_", " "), fixed, default, ours[kind])


def _port(host: str, name: str, fixed: int | None, default: int, ours: int | None) -> Check:
    port = fixed or default
    if ours is not None:
        return ok(name, f"{ours}, in use by this Phoundry")
    if machine.port_is_free(host, port):
        return ok(name, f"{port} is free")
    found = f"{port} is in use by {machine.holder(port)}"
    if fixed is None:
        return ok(name, f"{found}; the next free one is taken instead")
    option = "--" + name.replace(" ", "-")
    return fail(name, found, f"End that program, or move for good: phoundry up {option} N")


def hub(place: Place) -> Iterator[Check]:
    import httpx

    settings = place.settings
    address = settings.hub_endpoint or HUB
    shown = without_password(address)
    token = "with" if settings.hub_token_given else "without"
    if place.offline:
        yield ok("hub", f"{shown} was not asked (--offline)")
        return
    if settings.hub_offline:
        yield ok("hub", "is not asked (HF_HUB_OFFLINE): only what is cached can be used")
        return
    remedy = (
        "Name a mirror in HF_ENDPOINT, or set HF_HUB_OFFLINE=1 and use what is cached, a folder, "
        "a .gguf file or a model that a package ships."
    )
    begun = time.monotonic()
    try:
        answer = httpx.head(address, timeout=ASK_SECONDS, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = str(error) or type(error).__name__
        yield warn("hub", f"{shown} cannot be reached: {reason}", remedy)
        return
    if answer.status_code >= 500:
        yield warn("hub", f"{shown} answers {answer.status_code}", remedy)
        return
    took = time.monotonic() - begun
    yield ok("hub", f"{shown} answers in {took:.1f} s, asked {token} HF_TOKEN")
    yield from _skew(answer.headers.get("date"))


def _skew(date: str | None) -> Iterator[Check]:
    """A finding where the hub's clock and ours differ: certificates and tokens then fail."""
    parsed = email.utils.parsedate_to_datetime(date) if date else None
    if parsed and abs(parsed.timestamp() - time.time()) > SKEW_SECONDS:
        minutes = (time.time() - parsed.timestamp()) / 60
        yield warn("clock", f"{minutes:+,.0f} minutes from the hub's", "Set this machine's clock.")
