"""How many replicas a deployment has, under Azure ML's keys."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from phoundry.specs.base import Spec

INSTANCES = 16  # of one deployment, at most


class ScaleSettings(Spec):
    """`default` keeps `instance_count` replicas; `target_utilization` moves between two bounds.

    Utilisation is requests in flight (those that wait included) as a share of what all replicas
    decode at once. `min_instances` 0 lets an unused deployment end its last replica; the next
    request starts one and waits for it.
    """

    type: Literal["default", "target_utilization"] = "default"
    min_instances: int = Field(default=1, ge=0, le=INSTANCES)
    max_instances: int = Field(default=1, ge=1, le=INSTANCES)
    polling_interval: int = Field(default=1, ge=1, description="Seconds between two looks")
    target_utilization_percentage: int = Field(default=70, ge=1, le=100)
    idle_time_before_scale_down: int = Field(
        default=300, ge=1, description="Seconds with less to do before a replica is ended"
    )

    @model_validator(mode="after")
    def _bounds(self) -> ScaleSettings:
        if self.min_instances > self.max_instances:
            raise ValueError(
                f"min_instances {self.min_instances} is more than max_instances "
                f"{self.max_instances}"
            )
        return self
