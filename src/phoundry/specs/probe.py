"""Probes of a replica, under Azure ML's keys and with its defaults."""

from __future__ import annotations

from pydantic import Field

from phoundry.specs.base import Spec


class Probe(Spec):
    """Times are in seconds. A liveness probe that fails restarts the replica; a readiness probe
    that fails takes it out of rotation until it succeeds again."""

    initial_delay: int = Field(default=10, ge=0, description="From the replica's start")
    period: int = Field(default=10, ge=1)
    timeout: int = Field(default=2, ge=1)
    success_threshold: int = Field(default=1, ge=1, description="Successes in a row")
    failure_threshold: int = Field(default=30, ge=1, description="Failures in a row")
