"""When a lease is renewed."""

from __future__ import annotations

#: a lease is renewed when this share of it has passed, at the latest
RENEW_AFTER_SHARE = 1 / 3
#: seconds until the next try while the database is away; with a short lease a share of it
RETRY_AFTER_S, RETRY_AFTER_SHARE = 3.0, 1 / 12
