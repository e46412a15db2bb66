"""Share the request rate of an account among all live clients that use the same journal."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from suno_async.errors import JournalError
from suno_async.limits.local import LocalLimiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from suno_async.journal.base import Journal
    from suno_async.limits.base import Limiter

logger = logging.getLogger("suno_async")

#: Seconds between two heartbeats. A client that joins usually waits about this long until the
#: others share.
HEARTBEAT = 2.0

#: Seconds between two heartbeats of a client that waits for the others.
JOINING = 0.1

#: Seconds from the heartbeat of the others to the first request. Their last requests, sent at the
#: whole rate, may still arrive, so without this wait 16 requests arrived within one second.
ARRIVING = 0.2

#: Seconds since the last heartbeat after which a client sends nothing until the next one. If its
#: process was stopped for longer than the lease of the journal (30 s), other clients use its share.
SILENCE = 3 * HEARTBEAT


class RateShare:
    """Limits a client to 1/N of the account's request rate, where N is the number of live clients.

    Only the rate of a `LocalLimiter` is divided. A limiter of another class keeps its full rate, so
    all clients of the account must share this limiter.

    Args:
        journal: The journal. Its heartbeat returns the number of live clients.
        limiter: The limiter of the client.
        on_heartbeat: Called after a heartbeat, normally every `HEARTBEAT` seconds.
    """

    def __init__(
        self, journal: Journal, limiter: Limiter, on_heartbeat: Callable[[], Awaitable[None]]
    ) -> None:
        self._journal = journal
        self._limiter = limiter
        self._on_heartbeat = on_heartbeat
        self._count = 1
        self._beating: asyncio.Task[None] | None = None

    async def join(self) -> None:
        """Wait until the other live clients have reduced their rate. Then start the heartbeats.

        The wait usually takes about `HEARTBEAT` seconds. If no other client is live, there is no
        wait.

        Raises:
            JournalError: The journal cannot be written.
        """
        peers = await self._journal.heartbeat()
        self._divide(peers.count)
        waits = not peers.aware
        if waits:
            logger.info("other processes use this account: waiting until they share its rate")
        while not peers.aware:
            await asyncio.sleep(JOINING)
            peers = await self._journal.heartbeat()
            self._divide(peers.count)
        if waits:
            await asyncio.sleep(ARRIVING)
        self._beating = asyncio.create_task(self._beat(), name="suno_async journal heartbeat")
        # If the heartbeats end for any reason, requests must not wait for the next one.
        self._beating.add_done_callback(lambda _: self._release())

    async def leave(self) -> None:
        """Stop the heartbeats, and no longer reduce the rate of the limiter."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        self._count = 1
        self._release()

    def _release(self) -> None:
        if isinstance(self._limiter, LocalLimiter):
            self._limiter.share(self._count, self)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        shared_at, pause = loop.time(), HEARTBEAT
        while True:
            await asyncio.sleep(pause)
            silent = loop.time() - shared_at > SILENCE
            try:
                peers = await self._journal.heartbeat()
                if silent and not peers.aware:
                    # Others have taken the share of this client in the meantime.
                    pause = JOINING
                    continue
                if pause == JOINING:
                    await asyncio.sleep(ARRIVING)
                shared_at, pause = loop.time(), HEARTBEAT
                self._divide(peers.count)
                await self._on_heartbeat()
                continue
            except JournalError as error:
                logger.error("no heartbeat in the journal: %s", error)  # noqa: TRY400 (no bug)
            except Exception:
                logger.exception("bug in the heartbeat of the journal; it continues")
            # Polling continues without the journal.
            shared_at, pause = loop.time(), HEARTBEAT
            self._divide(self._count)

    def _divide(self, count: int) -> None:
        """Use 1/`count` of the account's rate for the next `SILENCE` seconds.

        After this time, the client sends nothing until this method is called again.
        """
        limiter = self._limiter
        if not isinstance(limiter, LocalLimiter):
            return
        limiter.share(count, self, limiter.now() + SILENCE)
        if count == self._count:
            return
        self._count = count
        logger.warning(
            "%d live clients use this account: this one sends at most %.3g requests per second",
            count,
            limiter.rate,
        )
