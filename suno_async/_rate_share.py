"""Share the request rate of an account among all live clients that use the same journal."""

from __future__ import annotations

import asyncio
import logging
import math
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


#: The default lease of the journal in seconds. The result of a heartbeat that took longer is not
#: used: the process may have been suspended after the journal was read.
LEASE = 30.0


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
        try:
            await self._wait_for_peers()
        except BaseException:
            # An expired share would block all clients with this limiter.
            self._count = 1
            self._release()
            raise
        self._beating = asyncio.create_task(self._beat(), name="suno_async journal heartbeat")
        # If the heartbeats end for any reason, requests must not wait for the next one.
        self._beating.add_done_callback(lambda _: self._release())

    async def _wait_for_peers(self) -> None:
        peers = await self._journal.heartbeat()
        self._divide(peers.count)
        if not peers.aware:
            logger.info("other clients use this account: waiting until they reduce their rates")
        while not peers.aware:
            await asyncio.sleep(JOINING)
            peers = await self._journal.heartbeat()
            self._divide(peers.count)
        if peers.count > 1:
            await asyncio.sleep(ARRIVING)

    async def leave(self) -> None:
        """Stop the heartbeats, and no longer reduce the rate of the limiter."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        self._count = 1
        self._release()

    def _stop_sending(self) -> None:
        if isinstance(self._limiter, LocalLimiter):
            self._limiter.share(self._count, self, -math.inf)

    def _release(self) -> None:
        if isinstance(self._limiter, LocalLimiter):
            self._limiter.share(self._count, self)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        shared_at, pause = loop.time(), HEARTBEAT
        # Whether others may use the share of this client, so that it must not send.
        is_lost = False
        while True:
            await asyncio.sleep(pause)
            asked_at = loop.time()
            try:
                peers = await self._journal.heartbeat()
                now = loop.time()
                is_late = now - shared_at > SILENCE
                if (is_late and not peers.aware) or now - asked_at > LEASE:
                    # Others have, or may have, taken the share of this client in the meantime.
                    is_lost, pause = True, JOINING
                    self._stop_sending()
                    continue
                if is_lost:
                    await asyncio.sleep(ARRIVING)
                # After a fault of the journal, the others may be late as well. Until they have sent
                # their heartbeats, they are not counted, but they still send.
                count = max(peers.count, self._count) if is_late else peers.count
                shared_at, pause, is_lost = loop.time(), HEARTBEAT, False
                self._divide(count)
                await self._on_heartbeat()
                continue
            except JournalError as error:
                logger.error("the journal cannot be written: %s; trying again", error)  # noqa: TRY400 (no bug)
            except Exception:
                logger.exception("bug in a heartbeat of the journal; further heartbeats follow")
            pause = HEARTBEAT
            if not is_lost:
                # Polling continues without the journal.
                self._divide(self._count)

    def _divide(self, count: int) -> None:
        """Use 1/`count` of the account's rate for the next `SILENCE` seconds.

        After this time, the client sends nothing until this method is called again. If the limiter
        is not a `LocalLimiter`, do nothing.
        """
        limiter = self._limiter
        if not isinstance(limiter, LocalLimiter):
            return
        limiter.share(count, self, limiter.now() + SILENCE)
        if count == self._count:
            return
        self._count = count
        logger.warning(
            "clients that use this account: %d; this one sends at most %.3g requests per second",
            count,
            limiter.rate,
        )
