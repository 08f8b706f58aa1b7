"""Which engine serves which architecture."""

from __future__ import annotations

import pytest

from phoundry.errors import InvalidInput
from phoundry.services import deployments, endpoints
from phoundry.services.context import Context
from phoundry.services.engine_files import check
from phoundry.specs.deployment import DeploymentSpec
from phoundry.specs.endpoint import EndpointSpec


@pytest.mark.parametrize("kind", ["phi3", "gemma3_text", "mistral"])
def test_what_openvino_does_not_read(kind: str) -> None:
    with pytest.raises(InvalidInput, match=f"this model is {kind}"):
        check("openvino", {"model_type": kind})
    check("llama.cpp", {"model_type": kind})


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_what_openvino_reads(kind: str) -> None:
    check("openvino", {"model_type": kind})


def test_a_deployment_is_refused_before_anything_is_fetched(context: Context) -> None:
    endpoints.create(context, EndpointSpec(name="faq"))
    spec = DeploymentSpec(
        name="blue", endpoint_name="faq", model="phi-3-mini-4k-instruct", engine="openvino"
    )
    with pytest.raises(InvalidInput, match=r"llama\.cpp serves it"):
        deployments.create(context, spec)
    assert deployments.listing(context, "faq") == []
