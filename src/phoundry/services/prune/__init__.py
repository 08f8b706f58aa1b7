"""Free disk space: what nothing uses any more, and on demand what can be made again.

`plan` looks, `prune` looks again and removes. Both run in one transaction, so that no verb can
begin to use what is being judged; what goes is first moved aside under a name that nobody looks
for, and its bytes are freed after the transaction. Whoever needs what "can be made again" makes it
again.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sqlalchemy.orm import Session

from phoundry.services.context import Context
from phoundry.services.prune import caches, environments, histories, leftovers, registry
from phoundry.services.prune.uses import Uses
from phoundry.specs.care import Prunable, Pruning

TRASH = "trash-"


def plan(context: Context, *, everything: bool = False) -> Pruning:
    """What `prune` would remove. `everything`: also what can be made again."""
    with context.begin("home/read") as session:
        return _summed(_found(session, context, everything))


def prune(context: Context, *, everything: bool = False) -> Pruning:
    """Remove it; returns what has gone.

    Files that cannot be removed (another user's) stay, and a notice says so.
    """
    notices: list[str] = []
    with context.begin("home/prune") as session:
        items = _found(session, context, everything)
        trash = Path(tempfile.mkdtemp(dir=context.home.root, prefix=TRASH)) if items else None
        gone = [item for item in items if _remove(session, context, item, trash, notices)]
    for folder in context.home.root.glob(f"{TRASH}*"):
        shutil.rmtree(folder, ignore_errors=True)
    runs = [item for item in gone if item.kind == registry.KIND]
    if runs and (trouble := registry.remove(context.home, [item.name for item in runs])):
        notices.append(trouble)
        gone = [item for item in gone if item not in runs]
    result = _summed(gone)
    return result.model_copy(update={"removed": True, "notices": notices})


def _found(session: Session, context: Context, everything: bool) -> list[Prunable]:
    uses = Uses.of(session, context)
    found = [
        *leftovers.blobs(context.home, uses),
        *leftovers.uploads(context.home),
        *leftovers.working(context.home),
        *leftovers.runs(context.home, uses),
        *leftovers.checkpoints(session),
        *leftovers.collected(context.home, session),
        *leftovers.logs(context.home),
        *environments.useless(context.home),
        *histories.old(session),
        *registry.deleted(context.home),
        *leftovers.trash(context.home),
    ]
    if everything:
        found += [*caches.all_of(context.home, uses), *environments.again(context.home)]
    return found


def _remove(
    session: Session, context: Context, item: Prunable, trash: Path | None, notices: list[str]
) -> bool:
    if item.kind == histories.KIND:
        histories.forget(session)
    elif item.kind == leftovers.LOG and item.path:
        leftovers.shorten(Path(item.path))
    elif item.path and trash:
        path = Path(item.path)
        try:
            path.replace(Path(tempfile.mkdtemp(dir=trash)) / path.name)
        except FileNotFoundError:
            return False  # somebody else has removed it
        except OSError as error:
            notices.append(f"{path} could not be removed: {error.strerror}.")
            return False
    return True


def _summed(items: list[Prunable]) -> Pruning:
    return Pruning(items=items, bytes=sum(item.bytes for item in items))
