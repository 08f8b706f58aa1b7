"""Keys of Azure ML's deployment YAML that say how it runs there: kept, and told with a notice."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from phoundry.specs.base import Spec


class CodeConfiguration(Spec):
    """Azure's scoring script."""

    code: str | None = None
    scoring_script: str


class AzureKeys(Spec):
    """What a deployment file may say for Azure, so that one file works here and there."""

    type: Literal["managed", "kubernetes"] = "managed"
    instance_type: str | None = Field(default=None, description="Recorded: it runs here")
    compute: str | None = Field(default=None, description="Recorded: it runs here")
    resources: dict[str, Any] | None = Field(default=None, description="Recorded: it runs here")
    environment: str | dict[str, Any] | None = Field(
        default=None, description="Recorded: the engine is Phoundry's own"
    )
    # They may be secrets, and nothing here reads them.
    environment_variables: dict[str, str | int | float | bool] = Field(
        default_factory=dict[str, str | int | float | bool],
        description="Not kept: a scoring script would read them",
        repr=False,
    )
    code_configuration: CodeConfiguration | None = Field(
        default=None, description="Recorded: the replica itself answers what a script would"
    )
    model_mount_path: str | None = Field(default=None, description="Recorded")
    app_insights_enabled: bool = Field(default=False, description="Recorded: metrics are local")
    egress_public_network_access: Literal["enabled", "disabled"] | None = Field(
        default=None, description="Recorded"
    )
    properties: dict[str, Any] = Field(default_factory=dict[str, Any], description="Recorded")

    def notices(self) -> list[str]:
        """What of it has no effect here, and what does its work instead."""
        places = [self.instance_type, self.compute]
        if self.type == "kubernetes" or self.resources:
            places.append("type: kubernetes" if self.type == "kubernetes" else "resources")
        told = [f"'{it}' is recorded; the deployment runs on this machine." for it in places if it]
        if self.code_configuration:
            script = self.code_configuration.scoring_script
            told.append(
                f"The scoring script '{script}' does not run here: the replica answers /score in "
                "Azure's format by itself. What a script adds to the questions or the answers "
                "belongs into `defaults` or into a flow."
            )
        if self.environment:
            told.append(
                "The environment is recorded; the engine runs in Phoundry's own environment."
            )
        if self.environment_variables:
            names = ", ".join(self.environment_variables)
            told.append(f"environment_variables are not kept, nothing here reads them: {names}.")
        if self.app_insights_enabled:
            told.append(
                "app_insights_enabled is recorded; the gateway's /metrics and "
                "`phoundry deployment logs` tell what happens here."
            )
        if self.egress_public_network_access == "disabled":
            told.append(
                "egress_public_network_access is recorded: nothing here keeps a replica's process "
                "from the network. It asks for nothing there once its model is fetched."
            )
        return told
