"""The HTTP replies of the sandbox: results and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

if TYPE_CHECKING:
    from suno_async.sandbox._refusals import Refusal


def success_reply(data: object) -> web.Response:
    """Return the reply to a request that succeeded, with this `data`."""
    return web.Response(
        body=msgspec.json.encode({"code": 200, "message": "success", "data": data}),
        content_type="application/json",
    )


def error_reply(refusal: Refusal, errors_as: str) -> web.Response:
    """Return the reply to a request that was refused.

    Args:
        refusal: The error to send.
        errors_as: How to send the error. See the argument `errors_as` of `Sandbox`.
    """
    code = refusal.code
    headers = {} if refusal.retry_after is None else {"Retry-After": refusal.retry_after}
    if errors_as == "status":
        return web.Response(status=code, text=refusal.message, headers=headers)
    body: dict[str, Any] = {"code": code, "message": refusal.message}
    if refusal.errors:
        body["errors"] = refusal.errors
    else:
        body["data"] = None
    status = 200 if errors_as == "envelope" else code
    return web.json_response(body, status=status, headers=headers)
