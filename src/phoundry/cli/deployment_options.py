"""The options of `phoundry deployment create` and `update`, and the spec or change they say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phoundry.cli.arguments import deployment_reference, placed
from phoundry.errors import UsageError

if TYPE_CHECKING:
    from phoundry.specs.deployment import DeploymentSpec, DeploymentUpdate

Model = Annotated[str | None, typer.Option(help="Registered NAME:VERSION, catalog name or folder.")]
Flow = Annotated[str | None, typer.Option(help="Folder of a flow, in place of a model.")]
Connections = Annotated[list[str] | None, typer.Option(help="Of the flow: node.input=connection.")]
Init = Annotated[
    list[str] | None, typer.Option(help="Of a flex flow: name=value of its class, or a JSON file.")
]
Engine = Annotated[
    str | None,
    typer.Option(
        help="llama.cpp (default), openvino, transformers, vllm (GPU; untried), or auto: what "
        "`phoundry model benchmark` measured fastest."
    ),
]
Quantization = Annotated[
    str | None,
    typer.Option(help="Q8_0 (unless named), Q5_1, Q4_0, F16, BF16 or F32, of llama.cpp's GGUF."),
]
Adapter = Annotated[
    str | None,
    typer.Option(
        help="Of a LoRA fine-tune: merged (default), or shared: one process for all fine-tunes of "
        "its base."
    ),
]
ContextLength = Annotated[int | None, typer.Option(help="Tokens of a conversation.")]
InstanceCount = Annotated[int | None, typer.Option(help="Replicas: processes that serve it.")]
Gate = Annotated[
    bool | None,
    typer.Option(
        "--gate/--no-gate",
        help="Whether it must answer as the trained model does before it gets live traffic.",
        show_default=False,
    ),
]
File = Annotated[Path | None, typer.Option("--file", "-f", help="Azure ML's deployment YAML.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Write over a key: defaults.temperature=0.7."),
]


def described(
    name: str | None,
    endpoint: str | None,
    file: Path | None,
    flags: Mapping[str, Any],
    settings: Mapping[str, str],
) -> DeploymentSpec:
    """What a file says, with what the command line says over it."""
    from phoundry.client.checking import checked
    from phoundry.specs.deployment import DeploymentSpec

    values = _written(file)
    if name:
        endpoint, name = deployment_reference(name, endpoint or values.get("endpoint_name"))
        values["name"] = name
    if endpoint:
        values["endpoint_name"] = endpoint
    values = placed(_over(values, flags), settings)
    needed = ("name", "endpoint_name", "flow" if "flow" in values else "model")
    missing = [key for key in needed if key not in values]
    if missing:
        raise UsageError(
            f"The deployment has no {' and no '.join(missing)}.",
            remedy="Write NAME --endpoint E --model M (or --flow FOLDER), or -f FILE.",
        )
    return checked(DeploymentSpec, values, "The deployment")


def changed(
    name: str | None,
    endpoint: str | None,
    file: Path | None,
    flags: Mapping[str, Any],
    settings: Mapping[str, str],
) -> tuple[str, str, DeploymentUpdate | None]:
    """Endpoint, name, and what is to change; None where nothing is written that can."""
    from phoundry.client.checking import checked
    from phoundry.specs.deployment import DeploymentUpdate

    values = _written(file)
    told = name or values.get("name")
    if not told:
        raise UsageError("No deployment is named.", remedy="Write ENDPOINT/NAME, or -f FILE.")
    where, what = deployment_reference(told, endpoint or values.get("endpoint_name"))
    # Azure's own keys are of no effect here, nor is a name that stays.
    known = {key: each for key, each in values.items() if key in DeploymentUpdate.model_fields}
    values = placed(_over(known, flags), settings)
    return where, what, checked(DeploymentUpdate, values, "The change") if values else None


def _written(file: Path | None) -> dict[str, Any]:
    """The keys that stand in a deployment's file."""
    from phoundry.specs import yaml
    from phoundry.specs.deployment import DeploymentSpec

    if file is None:
        return {}
    spec = yaml.load(file, DeploymentSpec)
    values = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if spec.flow is not None:  # seen from the file, as the flow's own paths are
        values["flow"] = str((file.parent / Path(spec.flow).expanduser()).absolute())
    return values


def _over(values: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """`flags` over `values`; `defaults` one by one."""
    given = {key: each for key, each in flags.items() if each not in (None, {})}
    if "defaults" in given:
        given["defaults"] = {**values.get("defaults", {}), **given["defaults"]}
    return {**values, **given}
