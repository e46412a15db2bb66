"""A thread with its own SQLite connection. It commits the operations of many callers together."""

from __future__ import annotations

import asyncio
import copy
import logging
import queue
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, TypeVarTuple

from suno_async.errors import JournalError, SunoError, WrongEventLoopError
from suno_async.journal._schema import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")

_log = logging.getLogger("suno_async")

#: Maximum number of operations in one transaction. A higher number would hardly reduce the cost of
#: the sync for each operation, but other processes would wait longer.
MOST_TOGETHER = 1_000


class _Entry(NamedTuple):
    future: asyncio.Future[Any]
    operation: Callable[..., Any]
    arguments: tuple[Any, ...]


class _Result(NamedTuple):
    future: asyncio.Future[Any]
    value: Any
    error: BaseException | None


class Worker:
    """Runs operations on an SQLite connection, in a separate thread. Internal.

    The thread runs all pending operations in one transaction. So one sync of the disk is enough for
    many callers. If one operation fails, the others still succeed. But a fault such as a full disk
    makes all of them fail.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        *,
        begin: str = "BEGIN IMMEDIATE",
        prepare: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        """Start the thread.

        Args:
            path: The path of the journal, for error messages.
            connect: Opens the connection; called in the thread.
            begin: The SQL statement that begins a transaction.
            prepare: Called in the thread at the start of each transaction.
        """
        self._path = path
        self._connect = connect
        self._begin = begin
        self._prepare = prepare
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        # With this lock, each `submit` happens either before or after the end of the thread. The
        # lock is reentrant, because the garbage collector may call `stop` during `submit`.
        self._lock = threading.RLock()
        self._refusal: JournalError | None = None
        self._stopping = False
        self._ended: asyncio.Future[None] = self._loop.create_future()
        # A daemon thread does not prevent the interpreter from exiting. Every operation that
        # was acknowledged by then is committed.
        name = f"suno_async journal {path.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def check_loop(self) -> None:
        """Check that the running event loop is the one in which the worker was started.

        Raises:
            WrongEventLoopError: It is another event loop.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise WrongEventLoopError(
                "the journal was opened in another event loop; open one journal in each event loop"
            )

    def submit(
        self,
        operation: Callable[[sqlite3.Connection, *_Arguments], _T],
        *arguments: *_Arguments,
    ) -> asyncio.Future[_T]:
        """Add an operation to the queue. Return a future for the result of the operation.

        The future is resolved after the commit. Cancelling the future does not cancel the
        operation.

        Raises:
            JournalError: The journal is closed, or the thread died.
            WrongEventLoopError: The worker was started in another event loop.
        """
        self.check_loop()
        future: asyncio.Future[_T] = self._loop.create_future()
        with self._lock:
            if self._refusal is not None:
                raise copy.copy(self._refusal)
            self._queue.put(_Entry(future, operation, arguments))
        return future

    def stop(self) -> None:
        """Accept no more operations. The thread ends after it has run all accepted operations."""
        with self._lock:
            if self._refusal is None:
                self._refusal = JournalError(f"journal {self._path}: it is closed")
                self._queue.put(None)

    async def join(self) -> None:
        """Wait until the thread has closed its connection."""
        # Cancelling one call of `join` must not cancel the future for the other calls.
        await asyncio.shield(self._ended)
        # The last step of the thread was to report its end, so this blocks only for a moment.
        self._thread.join()

    def _run(self) -> None:
        batch: list[_Entry] = []
        connection: sqlite3.Connection | None = None
        failure: BaseException | None = None
        try:
            connection = self._connect()
            while self._take(batch):
                results = self._execute(connection, batch)
                batch.clear()
                self._report(self._resolve, results)
                # Otherwise the results would stay in memory until the next operation arrives.
                del results
        except BaseException as error:  # noqa: BLE001 (reported to each caller, and logged)
            failure = error
        try:
            if connection is not None:
                connection.close()
        except sqlite3.Error as error:
            failure = failure or error
        self._end(batch, failure)

    def _take(self, batch: list[_Entry]) -> bool:
        # Wait for an operation, and take all other pending ones. Return False after the last one.
        if self._stopping:
            return False
        entry = self._queue.get()
        while entry is not None:
            batch.append(entry)
            if len(batch) == MOST_TOGETHER:
                return True
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                return True
        self._stopping = True
        return bool(batch)

    def _execute(self, connection: sqlite3.Connection, batch: Sequence[_Entry]) -> list[_Result]:
        try:
            connection.execute(self._begin)
        except sqlite3.Error as error:
            # No transaction can begin now. One attempt for each operation would take too long.
            return [_Result(entry.future, None, error) for entry in batch]
        try:
            if self._prepare is not None:
                self._prepare(connection)
            results = [_attempt(connection, entry) for entry in batch]
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 (each caller gets its own)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if len(batch) == 1:
                return [_Result(batch[0].future, None, error)]
            # Run each operation alone, so that only those that cause an error fail.
            return [result for entry in batch for result in self._execute(connection, [entry])]
        return results

    def _report(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            _log.debug("the event loop was closed before the journal")

    def _resolve(self, results: Sequence[_Result]) -> None:
        for future, value, error in results:
            if future.done():
                continue
            if error is None:
                future.set_result(value)
                continue
            translated = copy.copy(translate(error, self._path))
            translated.__cause__ = None if isinstance(error, JournalError) else error
            future.set_exception(translated)

    def _end(self, batch: list[_Entry], failure: BaseException | None) -> None:
        if failure is not None and not isinstance(failure, (SunoError, sqlite3.Error, OSError)):
            _log.error("the thread of journal %s ended", self._path, exc_info=failure)
            failure = JournalError(
                f"journal {self._path}: its thread ended with {failure!r}; open it again"
            )
        with self._lock:
            if failure is not None:
                self._refusal = translate(failure, self._path)
            while not self._queue.empty():
                if (entry := self._queue.get_nowait()) is not None:
                    batch.append(entry)
        self._report(self._resolve, [_Result(entry.future, None, failure) for entry in batch])
        self._report(self._ended.set_result, None)


def _attempt(connection: sqlite3.Connection, entry: _Entry) -> _Result:
    try:
        return _Result(entry.future, entry.operation(connection, *entry.arguments), None)
    except JournalError as error:
        # The changes before this error are committed. They must leave the journal in a valid state.
        return _Result(entry.future, None, error)
