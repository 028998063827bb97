"""Times as they stand on the wire: ISO 8601, UTC, whole seconds, `Z` (SPEC section 5)."""

from __future__ import annotations

from datetime import datetime, timezone


def to_wire(moment: datetime) -> str:
    """`2024-01-15T10:30:00Z`. A moment without a zone is taken as UTC, as the table stores it."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
