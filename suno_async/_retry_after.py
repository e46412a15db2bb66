"""The Retry-After header. Pure."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds a Retry-After header asks for: a number, or a date (RFC 9110, section 10.2.3).

    A date is read against the reply's own Date header, so that this machine's clock is not needed;
    with neither `now` nor Date it is ignored.
    """
    text = headers.get("Retry-After", "").strip()
    if text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdecimal():
        return float(text)
    until, since = _http_date(text), now or _http_date(headers.get("Date", ""))
    if until is None or since is None:
        return None
    return max(0.0, (until - since).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
