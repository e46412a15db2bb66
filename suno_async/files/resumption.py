"""Decide whether a broken download can be continued. No I/O."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def validator_of(headers: Mapping[str, str]) -> str:
    """Return the `If-Range` value for resuming a download; empty if resuming is not safe.

    The value identifies the version of the file (RFC 9110, 13.1.5).
    """
    if headers.get("Accept-Ranges", "").strip().lower() == "none":
        return ""
    if headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        return ""
    tag = headers.get("ETag", "")
    if tag:
        return "" if tag.startswith("W/") else tag
    modified, sent = _date(headers.get("Last-Modified")), _date(headers.get("Date"))
    # The dates have a resolution of one second, and a file can change twice within one second.
    if modified is None or sent is None or (sent - modified).total_seconds() < 1:
        return ""
    return headers["Last-Modified"]


def continued_size(
    headers: Mapping[str, str], received: int, total: int | None, validator: str
) -> int | None:
    """Return the size of a file in bytes if a partial reply contains its missing bytes.

    Return None if the reply does not contain them, or shows that the file on the server has
    changed.

    Args:
        headers: The headers of the partial reply.
        received: Number of bytes of the file that were received before this reply.
        total: Size of the file in bytes; None if unknown.
        validator: The value that `validator_of` returned for the reply that began the file.
    """
    match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None or int(match[1]) != received:
        return None
    if headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        return None
    tag = headers.get("ETag")
    if tag and validator.startswith('"') and tag != validator:
        return None
    # If the size is still unknown, the reply must state it.
    size = total if match[3] == "*" else int(match[3])
    reaches_the_end = int(match[2]) + 1 == size
    return size if reaches_the_end and total in {None, size} else None


def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
