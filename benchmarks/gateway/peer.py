"""LiteLLM's proxy, installed into a folder of its own and started as its users do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.gateway.processes import KEY, free_port, running, wait_for_port

# Pinned, so that two people's figures compare.
LITELLM = "litellm[proxy]==1.93.0"
# What it would fetch or send at its start is turned off; so are its debug messages.
ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_TELEMETRY": "False",
    "NO_DOCS": "True",
}


def install(cache: Path) -> Path:
    """The Python of a virtual environment that holds LiteLLM alone, made once.

    Its own environment, because it pins other versions of what Phoundry uses.
    """
    folder = cache / LITELLM.replace("[proxy]==", "-")
    python = folder / "bin" / "python"
    done = folder / ".complete"
    if not done.exists():
        print(f"Installing {LITELLM} for the comparison …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        if subprocess.run([*pip, LITELLM, "uvloop"], check=False).returncode:
            raise SystemExit(f"pip could not install {LITELLM}; --no-litellm goes without it.")
        done.touch()
    return python


@contextmanager
def proxy(
    python: Path, folder: Path, stub_port: int, on: set[int]
) -> Generator[tuple[int, psutil.Process]]:
    """LiteLLM's proxy with one worker, one model and one key: its port and its process."""
    model = {
        "model": "openai/stub",
        "api_base": f"http://127.0.0.1:{stub_port}/v1",
        "api_key": "token",
    }
    config = {
        "model_list": [{"model_name": "faq", "litellm_params": model}],
        "general_settings": {"master_key": f"sk-{KEY}"},
        "litellm_settings": {"num_retries": 0},
    }
    path = folder / "litellm.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    start = "from litellm.proxy.proxy_cli import run_server; run_server()"
    options = ["--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
    command = [str(python), "-c", start, *options, "--num_workers", "1"]
    with (
        (folder / "litellm.log").open("wb") as log,
        running(command, on, ENVIRONMENT, log) as process,
    ):
        wait_for_port(port, process)
        yield port, process
