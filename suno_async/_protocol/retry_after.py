"""Read the Retry-After header of a reply. No I/O."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The longest delay returned, in seconds (317 years). It limits absurd values of the header.
LONGEST = 1e10


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the delay in seconds that a Retry-After header asks for (RFC 9110, section 10.2.3).

    The header contains a number of seconds or a date. A date is compared with the Date header of
    the same reply.

    Args:
        headers: The headers of the reply.
        now: The time to use instead of the Date header. None means that the Date header is used.

    Returns:
        A number from 0 to `LONGEST`. None if Retry-After is missing or invalid, or if it is a date
        and the Date header is missing or invalid.
    """
    text = headers.get("Retry-After", "").strip()
    number = text.replace(".", "", 1)
    if number.isascii() and number.isdecimal():
        return min(float(text), LONGEST)
    # The clock of this machine may be wrong.
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
