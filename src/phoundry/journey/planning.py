"""What a plan is gathered in, and the questions that several planners ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from phoundry.errors import Fault, InvalidInput, NotFound
from phoundry.files import in_words
from phoundry.services import data
from phoundry.services.context import Context
from phoundry.specs.data import DataAsset
from phoundry.specs.names import split_version
from phoundry.specs.plan import Action, Change, PlanItem, Resource, SourceFacts

T = TypeVar("T")


@dataclass(slots=True)
class Planned:
    """Items in the order in which they are made."""

    items: list[PlanItem] = field(default_factory=list[PlanItem])
    notes: list[str] = field(default_factory=list[str])
    faults: list[Fault] = field(default_factory=list[Fault])
    train_bytes: dict[str, int] = field(default_factory=dict[str, int])  # of data to be made

    def add(self, kind: Resource, name: str, action: Action, **more: Any) -> PlanItem:
        item = PlanItem(kind=kind, name=name, action=action, **more)
        self.items.append(item)
        return item

    def coming(self, kind: Resource, name: str) -> PlanItem | None:
        """The item of this plan that makes, or changes, that resource before."""
        name = split_version(name)[0]
        for item in reversed(self.items):
            if item.kind == kind and split_version(item.name)[0] == name:
                return item if item.action != "nothing" else None
        return None

    def bytes_of(self, reference: str) -> int:
        """About how many bytes of the data that are to be made will be trained on."""
        return self.train_bytes.get(split_version(reference)[0], 0)

    def check(self) -> None:
        if self.faults:
            raise InvalidInput("The documents cannot be applied.", faults=self.faults)


def there(look: Callable[[], T]) -> T | None:
    """What `look` finds, or None where there is nothing of that name."""
    try:
        return look()
    except NotFound:
        return None


def changes_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The fields in which two plain mappings differ; those of mappings inside by `a.b`."""
    found: list[Change] = []
    for name in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            inner = changes_between(before, after)  # pyright: ignore[reportUnknownArgumentType]
            found += [
                change.model_copy(update={"field": f"{name}.{change.field}"}) for change in inner
            ]
        else:
            found.append(Change(field=name, old=before, new=after))
    return found


@dataclass(frozen=True, slots=True)
class Reading:
    """How a source is read and split: what makes, with its bytes, one asset or another."""

    format: str | None
    mapping: Mapping[str, str]
    skip_bad: int
    test_size: float
    seed: int

    def gives(self, asset: DataAsset, sha256: str) -> bool:
        """Whether reading the bytes with this hash would make `asset` again."""
        same = (asset.sha256, asset.test_size, asset.seed) == (sha256, self.test_size, self.seed)
        formed = self.format in (None, asset.format)
        mapped = all(asset.mapping.get(part) == column for part, column in self.mapping.items())
        return same and formed and mapped and asset.skipped <= self.skip_bad


def asset_of(
    context: Context, name: str, reading: Reading, facts: SourceFacts | None
) -> DataAsset | None:
    """The newest version of `name` that was made from the same bytes in the same way."""
    if facts is None or facts.sha256 is None:
        return None
    versions = [asset for asset in data.listing(context) if asset.name == name]
    return next((asset for asset in versions if reading.gives(asset, facts.sha256)), None)


def data_item(
    context: Context,
    planned: Planned,
    name: str,
    found: DataAsset | None,
    reading: Reading,
    facts: SourceFacts | None,
) -> PlanItem:
    """The item of a data asset: `found`, or its next version."""
    planned.train_bytes[name] = round(facts.bytes * (1 - reading.test_size)) if facts else 0
    if found is not None:
        return planned.add("data", f"{name}:{found.version}", "nothing", reason="the same content")
    newest = there(lambda: data.show(context, name))
    if newest is None:
        size = f"{in_words(facts.bytes)} of " if facts and facts.sha256 else ""
        reason = f"from {size}{facts.filename}" if facts else ""
        return planned.add("data", f"{name}:1", "create", reason=reason)
    changes = changes_between(
        {"test_size": newest.test_size, "seed": newest.seed},
        {"test_size": reading.test_size, "seed": reading.seed},
    )
    if facts is not None and facts.sha256 != newest.sha256:
        new = facts.sha256[:12] if facts.sha256 else "looked at when it is fetched"
        changes.append(Change(field="content", old=newest.sha256[:12], new=new))
    following = f"{name}:{int(newest.version) + 1}"
    reason = (
        "the content has changed"
        if facts and facts.sha256 != newest.sha256
        else ("it is read in another way")
    )
    return planned.add("data", following, "create", reason=reason, changes=changes)
