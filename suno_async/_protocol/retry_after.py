"""The Retry-After header. Pure."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The longest wait that is reported, in seconds: 317 years. It keeps absurd numbers finite.
LONGEST = 1e10


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, section 10.2.3).

    The header holds a number or a date. A date is compared with the reply's own Date header, so
    this machine's clock does not matter; without Date and without `now` it is ignored.

    The result is finite, not negative, and at most `LONGEST`. None if the header makes no sense.
    """
    text = headers.get("Retry-After", "").strip()
    number = text.replace(".", "", 1)
    if number.isascii() and number.isdecimal():
        return min(float(text), LONGEST)
    until, since = _http_date(text), now or _http_date(headers.get("Date", ""))
    if until is None or since is None:
        return None
    return min(max(0.0, (until - since).total_seconds()), LONGEST)


def _http_date(text: str) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
