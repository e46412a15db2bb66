"""Delay creates while the account has no credits. A *create* costs credits."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from suno_async._protocol.replies import read_balance
from suno_async._protocol.requests import balance_request
from suno_async.errors import (
    AuthenticationError,
    ClientClosedError,
    InsufficientCreditsError,
    SunoError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from suno_async._transport.exchange import Transport
    from suno_async.submissions import Submission

logger = logging.getLogger("suno_async")

#: Seconds between two requests for the balance while creates wait for credits.
BALANCE_EVERY = 30.0


class CreditWait:
    """Delays creates after a 402 (not enough credits) until the account has credits."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        # Only one create at a time tests whether the credits are sufficient.
        self._turn = asyncio.Lock()

    async def attempt(self, create: Callable[[], Awaitable[str]], submission: Submission) -> str:
        """Wait until the account has credits, then call `create`. Return the id of the new task.

        If `create` raises a 402 (not enough credits), wait for credits and call `create` again. But
        if the caller no longer waits for the submission, or the client is closed, raise the 402.

        Raises:
            SunoError: The API key was refused, the client was closed, or `create` failed.
        """
        async with self._turn:
            while True:
                await self._until_topped_up()
                try:
                    return await create()
                except InsufficientCreditsError:
                    if submission.abandoned or self._transport.closed:
                        raise

    async def _until_topped_up(self) -> None:
        transport = self._transport
        if not transport.breaker.lacks_credits(asyncio.get_running_loop().time()):
            return
        logger.warning(
            "out of credits: creates wait until you top up the account; the balance is checked "
            "every %g s",
            BALANCE_EVERY,
        )
        while True:
            await asyncio.sleep(BALANCE_EVERY)
            try:
                balance = await transport.get(balance_request(), read_balance, waits_out=True)
            except SunoError as error:
                # A refusal that is no envelope of the API may be from a proxy.
                refused = isinstance(error, AuthenticationError) and error.understood
                if refused or isinstance(error, ClientClosedError):
                    raise
                logger.warning("cannot read the balance: %s", error)
                continue
            transport.breaker.saw_balance(balance)
            if balance > 0:
                return
