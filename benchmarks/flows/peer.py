"""Prompt flow, installed into a folder of its own, with a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Pinned, so that two people's figures compare.
PROMPTFLOW = "promptflow==1.18.5"
# Sending statistics and starting a service for traces would only cost it time.
SETTINGS = "telemetry:\n  enabled: false\ntrace:\n  destination: none\n"


def install(cache: Path) -> Path:
    """The `bin` folder of a virtual environment that holds Prompt flow alone, made once."""
    folder = cache / PROMPTFLOW.replace("==", "-")
    done = folder / ".complete"
    if not done.exists():
        print(f"Installing {PROMPTFLOW} for the comparison …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--quiet",
        ]
        if subprocess.run([*pip, "install", PROMPTFLOW], check=False).returncode:
            raise SystemExit(f"pip could not install {PROMPTFLOW}; --no-peer goes without it.")
        done.touch()
    return folder / "bin"


def environment(home: Path) -> dict[str, str]:
    """For its processes; what it keeps goes to `home`."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "pf.yaml").write_text(SETTINGS)
    return {**os.environ, "PF_HOME_DIRECTORY": str(home)}
