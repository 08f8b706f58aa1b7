"""Who waits for whom, and for ever; in time that grows with the references."""

from __future__ import annotations

Needs = dict[str, set[str]]


def never_free(needs: Needs) -> Needs:
    """What is left of `needs` when those that wait for nothing have gone, again and again."""
    waiting = {name: {item for item in items if item in needs} for name, items in needs.items()}
    followers = turned(waiting)
    free = [name for name, items in waiting.items() if not items]
    while free:
        name = free.pop()
        del waiting[name]
        for follower in followers[name]:
            waiting[follower].discard(name)
            if not waiting[follower]:
                free.append(follower)
    return waiting


def turned(needs: Needs) -> Needs:
    """Those that need each."""
    followers: Needs = {name: set() for name in needs}
    for name, items in needs.items():
        for item in items:
            followers[item].add(name)
    return followers
