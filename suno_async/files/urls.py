"""Parse the URLs of files without changing what is requested. No I/O."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from yarl import URL

#: Matches a URL in which no character must be escaped (RFC 3986, 2).
_VALID = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")

_DOT_SEGMENT = re.compile(r"/\.\.?(?:/|$)")


def exact_url(text: str) -> URL:
    """Parse a URL. If the URL is valid, its path and query are requested unchanged.

    yarl decodes escapes that are not necessary, such as ``%3D``. A host that computes a signature
    from the request would then refuse a signed URL.

    Raises:
        TypeError: `text` is not a string.
        ValueError: `text` is not a URL.
    """
    url, parts = URL(text), urlsplit(text)
    if not url.absolute or not _VALID.fullmatch(text) or _DOT_SEGMENT.search(parts.path):
        return url
    return URL.build(
        scheme=url.scheme,
        authority=url.raw_authority,
        path=parts.path or "/",
        query_string=parts.query,
        encoded=True,
    )
