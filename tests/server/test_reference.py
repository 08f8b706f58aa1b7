from __future__ import annotations

import re
from pathlib import Path

from phoundry.server.reference import reference
from phoundry.server.routers import ROUTERS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"


def test_the_reference_is_what_the_routers_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "run: python -m phoundry.server.reference > docs/reference/api.md"
    )


def test_every_route_is_listed() -> None:
    page = reference()
    for router in ROUTERS:
        for route in router.routes:
            for method in getattr(route, "methods", ()):
                path = re.sub(r":\w+}", "}", getattr(route, "path", ""))
                assert f"`{method} /api{path}`" in page
