"""The schema that editors use says what `apply` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from phoundry.errors import InvalidInput
from phoundry.specs import schema
from phoundry.specs.documents import Text, read_documents

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.y*ml"))

TAKEN = [
    "name: faq-bot\ndata: {source: faq.jsonl}\nmodel: m\n",
    "name: faq-bot\ndata: faq:1\nmodel: {type: custom_model, path: m}\nendpoint: other\n",
    "name: faq-bot\ndata: {source: f, map: {question: q}}\nmodel: m\n"
    'finetune: {apply_lora: "true", learning_rate: "5e-4", precision: 16, lora_r: 8}\n'
    "deployment: {defaults: {system_prompt: Hi, temperature: 0, stop: [x]}, base: true}\n",
    "name: faq-bot\ndata: faq:1\nmodel: m\nfinetune: {gradient_checkpointing: true,"
    ' optim: adamw_hf, evaluation_strategy: "no", apply_deepspeed: "true", precision: bf16}\n',
    "name: faq\ntype: uri_file\npath: faq.jsonl\nversion: 3\n",
    "name: faq\ntype: mlflow_model\npath: azureml://jobs/train-1/outputs/model\n",
    "name: faq\ntype: open_ai\napi_key: ${KEY}\napi_version: 2024-02-01\n",
]
REFUSED = [
    "name: faq-bot\ndata: {source: faq.jsonl}\nmodel: m\nfinetun: {}\n",
    "name: faq-bot\ndata: {source: faq.jsonl, test_size: 2}\nmodel: m\n",
    "name: faq-bot\ndata: {source: faq.jsonl}\nmodel: m\nfinetune: {learning_rate: fast}\n",
    "name: faq-bot\ndata: {source: faq.jsonl}\nmodel: m\nfinetune: {apply_lora: maybe}\n",
    "name: faq-bot\ndata: {source: faq.jsonl}\nmodel: m\nfinetune: {max_steps: 0}\n",
    "name: faq-bot\ndata: {source: faq.jsonl}\nmodel: m\nfinetune: {precision: fp16}\n",
    "name: a\nauth_mode: key\n",
    "name: blue\nendpoint_name: faq-bot\nmodel: m\nengine: vroom\n",
]


def shipped() -> Any:
    return json.loads(schema.path().read_text(encoding="utf-8"))


def plain(text: str) -> Any:
    """As an editor reads YAML: dates are texts."""
    return json.loads(json.dumps(YAML(typ="safe").load(text), default=str))


def test_the_shipped_schema_is_what_the_specs_say() -> None:
    assert schema.path().read_text(encoding="utf-8") == schema.text(), (
        "run: python -m phoundry.specs.schema > src/phoundry/schemas/phoundry.schema.json"
    )
    jsonschema.Draft202012Validator.check_schema(shipped())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_valid(path: Path) -> None:
    jsonschema.validate(plain(path.read_text(encoding="utf-8")), shipped())


@pytest.mark.parametrize("text", TAKEN)
def test_what_apply_takes_editors_take(text: str) -> None:
    assert len(read_documents([Text("file.yaml", text, Path())])) == 1
    jsonschema.validate(plain(text), shipped())


@pytest.mark.parametrize("text", REFUSED)
def test_what_apply_refuses_editors_mark(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_documents([Text("file.yaml", text, Path())])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain(text), shipped())
