"""Checks of the home: folder, disk, key file, database."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil

from phoundry.services.doctor.findings import Place, fail, ok, size, warn
from phoundry.specs.care import Check

LOW_DISK, LEAST_DISK = 10e9, 1e9  # bytes; the smallest journey takes about two gigabytes
# SQLite's locks and memory maps are not sure on them.
SHARED = ("nfs", "cifs", "smb", "9p", "drvfs", "fuse.sshfs", "afs", "vboxsf")
BROKEN = "Stop Phoundry, put the newest copy of {backups} in its place, or look at the disk."


def folder(place: Place) -> Iterator[Check]:
    root = place.home.root
    if not root.exists():
        parent = _existing(root)
        if os.access(parent, os.W_OK):
            yield ok("home", f"{root} (not made yet)")
        else:
            remedy = "Set PHOUNDRY_HOME to a folder that you may write to."
            yield fail("home", f"{root} cannot be made: {parent} is not writable", remedy)
        return
    found = root.stat()
    if not root.is_dir() or not os.access(root, os.W_OK | os.X_OK):
        remedy = "Make it yours (chown), or set PHOUNDRY_HOME to another folder."
        yield fail("home", f"{root} is no folder that you may write to", remedy)
    elif found.st_mode & 0o077:
        told = f"{root} has mode {found.st_mode & 0o777:04o}; others can look into it"
        yield warn("home", told, f"Run: chmod 700 {root}")
    else:
        yield ok("home", f"{root} (mode 0700)")


def disk(place: Place) -> Iterator[Check]:
    where = _existing(place.home.root)
    usage, kind = shutil.disk_usage(where), file_system(where)
    found = f"{size(usage.free)} free of {size(usage.total)} ({kind or 'unknown'}) at {where}"
    remedy = "Free some: `phoundry prune` shows what can go. Or set PHOUNDRY_HOME elsewhere."
    if usage.free < LEAST_DISK:
        yield fail("disk", found, remedy)
    elif usage.free < LOW_DISK:
        yield warn("disk", found, remedy)
    elif kind.startswith(SHARED):
        remedy = "A database on a network disk can be damaged: set PHOUNDRY_HOME to a local one."
        yield warn("disk", found, remedy)
    else:
        yield ok("disk", found)


def file_system(path: Path) -> str:
    """The kind of file system that holds `path` (`ext4`, `nfs4`), or ''."""
    best, kind = -1, ""
    resolved = path.resolve()
    for part in psutil.disk_partitions(all=True):
        if resolved.is_relative_to(part.mountpoint) and len(part.mountpoint) > best:
            best, kind = len(part.mountpoint), part.fstype
    return kind


def key_file(place: Place) -> Iterator[Check]:
    from phoundry.store.vault import Vault, VaultError

    path = place.home.vault_key
    secret = _stored_secret(place.home.database)
    if secret is None and not path.exists():
        yield ok("key file", "is made with the first secret")
        return
    try:
        vault = Vault(path)
        vault.decrypt(vault.encrypt("probe") if secret is None else secret)
    except VaultError as error:
        yield fail("key file", error.message, error.remedy or "")
    except ValueError as error:
        remedy = "Put the key file back from your backup: without it stored secrets stay closed."
        yield fail("key file", f"{path} holds no key: {error}", remedy)
    else:
        opens = "opens what is stored" if secret else "nothing is stored yet"
        yield ok("key file", f"{path} (mode 0600, {opens})")


def _stored_secret(database: Path) -> str | None:
    """Some ciphertext of the database, or None where there is none (or no database)."""
    query = "select keys from endpoints union all select secrets from connections limit 1"
    try:
        with closing(_reading(database)) as connection:
            row = connection.execute(query).fetchone()
    except sqlite3.Error:
        return None  # the check of the database says why
    return row[0] if row else None


def _reading(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=2)


def database(place: Place) -> Iterator[Check]:
    from phoundry.store.database import revisions

    path = place.home.database
    broken = BROKEN.format(backups=place.home.backups)
    try:
        revision, head, usable = revisions(path)
        damage = "ok"
        if revision:
            with closing(_reading(path)) as connection:
                damage = connection.execute("pragma quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        yield fail("database", f"{path} cannot be read: {error}", broken)
        return
    if damage != "ok":
        yield fail("database", f"{path} is damaged: {damage}", broken)
    elif not usable:
        found = f"revision {revision}, of a newer Phoundry; this one knows {head}"
        yield fail("database", found, "Upgrade Phoundry, or use another PHOUNDRY_HOME.")
    elif revision is None:
        yield ok("database", f"{path} (not made yet)")
    elif revision != head:
        remedy = f"The next start upgrades it to {head}, and keeps a copy in {place.home.backups}."
        yield warn("database", f"revision {revision}, older than this version's {head}", remedy)
    else:
        yield ok("database", f"revision {revision}, whole")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
