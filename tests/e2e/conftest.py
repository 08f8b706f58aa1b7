from __future__ import annotations

import pytest

from tests.support.site import Site, Walked


@pytest.fixture
def site(walked: Walked) -> Site:
    """`phoundry up colours.jsonl` has returned; everything it made is there."""
    return walked.site
