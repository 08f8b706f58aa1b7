"""Secrets at rest: Fernet (AES-128-CBC with HMAC-SHA-256) under a key file of mode 0600.

A ciphertext carries its format (`v1:…`). Keys can be rotated: the first line of the key file
encrypts, every line decrypts.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from phoundry.errors import PhoundryError
from phoundry.files import PRIVATE, write_atomic

_TAG = "v1:"


class VaultError(PhoundryError):
    """The key file is missing, unreadable by us, readable by others, or not the right one."""

    code = "VaultError"


class Vault:
    """Encrypts and decrypts with the key file at `path`, which is made at first use."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def encrypt(self, value: Any) -> str:
        """A JSON value as tagged ciphertext."""
        plain = json.dumps(value, ensure_ascii=False).encode()
        return _TAG + self._fernet(create=True).encrypt(plain).decode()

    def decrypt(self, ciphertext: str) -> Any:
        """The JSON value. Raises VaultError where the key file cannot open it."""
        try:
            plain = self._fernet(create=False).decrypt(ciphertext.removeprefix(_TAG).encode())
        except InvalidToken:
            raise VaultError(
                f"The key file {self.path} does not open the stored secrets.",
                remedy="Put the key file back that was there when they were stored, "
                "or delete the connections and endpoints and create them again.",
            ) from None
        return json.loads(plain)

    def _fernet(self, *, create: bool) -> MultiFernet:
        if not self.path.exists():
            if not create:
                raise VaultError(
                    f"The key file {self.path} is missing.",
                    remedy="Put it back from your backup: without it stored secrets stay closed.",
                )
            write_atomic(self.path, Fernet.generate_key() + b"\n", mode=PRIVATE)
        mode = self.path.stat().st_mode & 0o777
        if mode & 0o077:
            raise VaultError(
                f"The key file {self.path} has mode {mode:04o}; others could read it.",
                remedy=f"Run: chmod 600 {self.path}",
            )
        return MultiFernet([Fernet(line) for line in self.path.read_bytes().split()])


def new_secret(length: int = 32) -> str:
    """A random URL-safe secret of `length` bytes of entropy."""
    return secrets.token_urlsafe(length)
