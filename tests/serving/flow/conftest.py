from __future__ import annotations

from collections.abc import Iterator

import pytest

from phoundry.serving.flow.hosted import Hosted
from tests.serving.flow.inside import hosting


@pytest.fixture
def echo() -> Iterator[Hosted]:
    with hosting("echo") as hosted:
        yield hosted


@pytest.fixture
def chat() -> Iterator[Hosted]:
    with hosting("chat") as hosted:
        yield hosted
