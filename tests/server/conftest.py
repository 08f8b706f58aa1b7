"""The API in process makes a home for nearly every test."""

from __future__ import annotations

from tests.support.quick import quick_databases

__all__ = ["quick_databases"]
