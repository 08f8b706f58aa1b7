"""The folder of a registered model, in MLflow's layout.

    MLmodel                  flavour python_function: model code, signature, where the checkpoint is
    chat_model.py            what answers (a copy of `phoundry.models.chat_model`)
    artifacts/checkpoint/    the merged model in Hugging Face's layout
    artifacts/adapter/       the LoRA adapter that it was merged of, where there was one
    requirements.txt, conda.yaml, python_env.yaml

MLflow's own `save_model` would copy the weights three times, guess the requirements by loading the
model in another process, and ask the hub for a model card.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from pathlib import Path
from typing import Any

CHECKPOINT = "artifacts/checkpoint"
CODE = "chat_model.py"
# What chat_model.py imports, directly or through transformers.
_NEEDED = ("mlflow", "torch", "transformers", "safetensors", "tokenizers", "jinja2", "numpy")


def write_package(
    folder: Path, name: str, *, run_id: str, model_id: str, metadata: dict[str, Any]
) -> None:
    """Write everything but the checkpoint, which must be in `folder / CHECKPOINT` already.

    `name` is what replies call the model. The signature is OpenAI's chat completion, as MLflow
    writes it down.
    """
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types.llm import CHAT_MODEL_INPUT_SCHEMA, CHAT_MODEL_OUTPUT_SCHEMA

    shutil.copyfile(Path(__file__).with_name(CODE), folder / CODE)
    model = Model(
        run_id=run_id,
        model_id=model_id,
        model_uuid=model_id,
        signature=ModelSignature(CHAT_MODEL_INPUT_SCHEMA, CHAT_MODEL_OUTPUT_SCHEMA),
        metadata={"task": "llm/v1/chat", **metadata},
    )
    model.model_size_bytes = sum(file.stat().st_size for file in folder.rglob("*"))
    pyfunc.add_to_model(
        model,
        loader_module="mlflow.pyfunc.loaders.code_model",
        model_code_path=CODE,
        conda_env="conda.yaml",
        python_env="python_env.yaml",
        artifacts={"checkpoint": {"path": CHECKPOINT, "uri": CHECKPOINT}},
        streamable=False,
        model_config={"model": name},
    )
    model.save(str(folder / "MLmodel"))
    _write_environment(folder)


def requirements() -> list[str]:
    """Exact versions of what the model needs; `+cpu` and the like are builds, not versions."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in _NEEDED]


def _write_environment(folder: Path) -> None:
    """The three files from which MLflow can make an environment. JSON is YAML too."""
    python = platform.python_version()
    needed = requirements()
    (folder / "requirements.txt").write_text("\n".join(needed) + "\n")
    environment = {
        "python": python,
        "build_dependencies": ["pip"],
        "dependencies": ["-r requirements.txt"],
    }
    (folder / "python_env.yaml").write_text(json.dumps(environment, indent=2) + "\n")
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": needed}],
    }
    (folder / "conda.yaml").write_text(json.dumps(conda, indent=2) + "\n")
