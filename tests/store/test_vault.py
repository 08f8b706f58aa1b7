from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from phoundry.store.vault import Vault, VaultError

CANARY = "s3cret-canary"


def test_a_secret_comes_back_and_is_not_in_the_ciphertext(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.key")
    ciphertext = vault.encrypt({"key": CANARY})
    assert CANARY not in ciphertext
    assert ciphertext.startswith("v1:")
    assert vault.decrypt(ciphertext) == {"key": CANARY}
    assert vault.path.stat().st_mode & 0o777 == 0o600


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.key")
    vault.encrypt("x")
    vault.path.chmod(0o644)
    with pytest.raises(VaultError, match="chmod 600"):
        vault.encrypt("x")


def test_a_missing_or_wrong_key_is_said(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.key")
    ciphertext = vault.encrypt("x")
    vault.path.write_bytes(Fernet.generate_key())
    with pytest.raises(VaultError, match="does not open"):
        vault.decrypt(ciphertext)
    vault.path.unlink()
    with pytest.raises(VaultError, match="missing"):
        vault.decrypt(ciphertext)
    assert not vault.path.exists()  # reading never makes a new key


def test_keys_are_rotated_by_a_new_first_line(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.key")
    before = vault.encrypt("old")
    vault.path.write_bytes(Fernet.generate_key() + b"\n" + vault.path.read_bytes())
    after = vault.encrypt("new")
    assert (vault.decrypt(before), vault.decrypt(after)) == ("old", "new")
