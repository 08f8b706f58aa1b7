"""A home that was deleted while its control plane runs: nobody could stop it any more."""

from __future__ import annotations

from contextlib import suppress

import psutil

from phoundry.settings import Home

GRACE_SECONDS = 5.0


def abandoned(home: Home) -> bool:
    """Whether the home is gone: the lock file is there as long as a control plane runs."""
    return not home.server_lock.exists()


def end_children() -> None:
    """End the processes that this one started; their folders, by which workers are known, are gone.

    A worker that an earlier control plane of this home started is not among them.
    """
    children = psutil.Process().children(recursive=True)
    for child in children:
        _signal(child, "terminate")
    _, left = psutil.wait_procs(children, timeout=GRACE_SECONDS)
    for child in left:
        _signal(child, "kill")


def _signal(child: psutil.Process, name: str) -> None:
    with suppress(psutil.NoSuchProcess):
        getattr(child, name)()
