"""Random calls by two clients have the same effect on the SQLite journal and on a simple model."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suno_async import InputChangedError, JournalError, RunInUseError, SubmissionState
from suno_async.journal.base import SubmissionRecord, TaskRecord
from tests.journals import TTL, Clock, check_integrity, client, stored

if TYPE_CHECKING:
    from suno_async.journal.sqlite import SqliteJournal

PLANNED, SENDING, CREATED, REFUSED, NOT_SENT, UNKNOWN = SubmissionState
OPEN = {PLANNED, SENDING}


class Sub(msgspec.Struct):
    """A submission in the model. A submission is the record of a request that creates a task."""

    id: str
    run: str
    key: str
    digest: str
    owner: str
    state: SubmissionState = PLANNED
    task: str = ""


class Model:
    """The expected behaviour of a journal with one account, implemented in memory."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.subs: dict[str, Sub] = {}
        self.tasks: dict[str, str] = {}
        self.expiry: dict[str, float] = {}
        self.holders: dict[str, str] = {}
        self.held: dict[str, set[str]] = {}

    def alive(self, owner: str) -> bool:
        """Return whether the lease of an owner is valid. An owner is a client of the journal."""
        return self.expiry.get(owner, 0.0) > self.clock.now

    def sweep(self, me: str) -> None:
        """Remove owners with an expired lease, except `me`.

        Free their runs, and end their unfinished submissions.
        """
        self.expiry = {
            owner: at for owner, at in self.expiry.items() if owner == me or self.alive(owner)
        }
        self.holders = {run: o for run, o in self.holders.items() if o in self.expiry}
        for sub in self.subs.values():
            if sub.state in OPEN and sub.owner not in self.expiry:
                sub.state = NOT_SENT if sub.state is PLANNED else UNKNOWN

    def touch(self, me: str) -> None:
        """Add the owner `me` if it is missing, or extend its lease."""
        if me not in self.expiry:
            self.sweep(me)
            for run in self.held.setdefault(me, set()):
                self.holders.setdefault(run, me)
        elif self.expiry[me] - self.clock.now > TTL * 5 / 6:
            return
        self.expiry[me] = self.clock.now + TTL

    def leave(self, me: str) -> None:
        """Remove the owner `me`, free its runs, and end its unfinished submissions."""
        self.touch(me)
        del self.expiry[me]
        self.held.pop(me)
        self.sweep("")

    def claim(self, me: str, new: Sub) -> Sub:
        """Return the earlier submission with the run and key of `new`.

        If there is no earlier submission, or if it was refused or not sent, store and return `new`.
        """
        if new.run in self.held[me] and self.holders.setdefault(new.run, me) != me:
            raise RunInUseError(new.run, "")
        earlier = [
            each for each in self.subs.values() if (each.run, each.key) == (new.run, new.key)
        ]
        if earlier and new.key:
            (old,) = earlier
            if old.state in OPEN and old.owner != me and not self.alive(old.owner):
                self.sweep(me)
            if old.state not in {REFUSED, NOT_SENT}:
                if old.digest != new.digest:
                    raise InputChangedError(new.run, new.key)
                return old
            del self.subs[old.id]
        self.subs[new.id] = new
        return new

    def advance(self, me: str, name: str, state: SubmissionState, task: str) -> None:
        """Set the state of the submission `name`. Raise an error if the change is not allowed."""
        sub = self.subs.get(name)
        if sub is None:
            if not task:
                raise JournalError
            self.tasks.setdefault(task, "")
            return
        if state in OPEN:
            if sub.state not in OPEN or sub.owner != me:
                raise JournalError
            sub.state = state
            return
        late = state is CREATED and sub.state in {REFUSED, NOT_SENT}
        if sub.state in {*OPEN, UNKNOWN} or late:
            sub.state, sub.task = state, task
        elif (sub.state, sub.task) != (state, task):
            raise JournalError
        if task:
            self.tasks.setdefault(task, "")

    def settle(self, me: str, name: str, task: str) -> None:
        """Store the outcome of a submission whose state is ``unknown``."""
        sub = self.subs.get(name)
        if sub is None:
            raise JournalError
        if sub.state in OPEN and sub.owner != me and not self.alive(sub.owner):
            self.sweep(me)
        if sub.state is not UNKNOWN:
            raise JournalError
        self.advance(me, name, CREATED if task else NOT_SENT, task)

    def hold(self, me: str, run: str) -> None:
        """Reserve a run for `me`. Raise `RunInUseError` if a live owner holds the run."""
        holder = self.holders.get(run)
        if holder is not None and holder != me and not self.alive(holder):
            self.sweep(me)
        if run in self.holders:
            raise RunInUseError(run, "")
        self.holders[run] = me
        self.held[me].add(run)


class Call(NamedTuple):
    """A random call of a journal method by one of two clients."""

    client: int
    name: str
    number: int
    state: SubmissionState
    text: str


REST = "hold hold release settle result beat reopen"
CALLS = st.builds(
    Call,
    st.integers(0, 1),
    st.sampled_from(("claim " * 4 + "advance " * 3 + "wait " * 3 + REST).split()),
    st.integers(0, 5),
    st.sampled_from(SubmissionState),
    st.sampled_from(["", "x", "y"]),
)


class Pair:
    """Two clients of the same journal file, and a model of this journal."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.model = Model(self.clock)
        self.journals = [client(path, self.clock, pid) for pid in (1, 2)]
        self.owners = ["", ""]
        self.opened = 0
        self.claimed = 0

    async def open(self, number: int) -> None:
        """Open the journal of the client `number`."""
        await self.journals[number].open("a")
        self.opened += 1
        self.owners[number] = f"owner {self.opened}"
        self.model.touch(self.owners[number])

    async def close(self, number: int) -> None:
        """Close the journal of the client `number`."""
        await self.journals[number].close()
        self.model.leave(self.owners[number])

    async def apply(self, call: Call) -> None:
        """Apply `call` to the journal and to the model. Compare the results or the errors."""
        if call.name == "wait":
            self.clock.now += (1.0, 4.0, 15.0, TTL, TTL, TTL * 2)[call.number]
            return
        if call.name == "reopen":
            await self.close(call.client)
            await self.open(call.client)
            return
        self.model.touch(self.owners[call.client])
        expected: object = None
        error: JournalError | None = None
        new = self.new(call)
        try:
            expected = self.expect(call, new)
        except JournalError as raised:
            error = raised
        journal = self.journals[call.client]
        if error is None:
            assert await self.make(journal, call, new) == expected
            return
        with pytest.raises(JournalError) as caught:
            await self.make(journal, call, new)
        assert type(caught.value) is type(error)

    def new(self, call: Call) -> Sub:
        """Return the submission that a claim with the data of `call` would store."""
        self.claimed += call.name == "claim"
        run, key = ("", "r")[call.number % 2], call.text
        digest = "d" if call.number < 5 else "changed"
        return Sub(f"s{self.claimed}", run, key, digest, self.owners[call.client])

    def target(self, call: Call) -> tuple[str, str]:
        """Return the ids of the submission and of the task that `call` changes."""
        name = f"s{max(1, self.claimed - call.number)}"
        return name, f"t-{name}"

    def expect(self, call: Call, new: Sub) -> object:
        """Apply `call` to the model, and return the expected result.

        `new` is the submission that the model stores if `call` is a claim. Other calls ignore it.
        """
        me, model, (name, task) = self.owners[call.client], self.model, self.target(call)
        match call.name:
            case "claim":
                return model.claim(me, new).id
            case "advance":
                model.advance(me, name, call.state, task * (call.state is CREATED))
            case "settle":
                model.settle(me, name, task * bool(call.text))
            case "result":
                model.tasks[task] = model.tasks.get(task) or call.text or "z"
            case "hold":
                model.hold(me, "r")
            case "release":
                model.held[me].discard("r")
                if model.holders.get("r") == me:
                    del model.holders["r"]
            case _:
                model.sweep(me)
                model.expiry[me] = self.clock.now + TTL
                return len(model.expiry)
        return None

    async def make(self, journal: SqliteJournal, call: Call, new: Sub) -> object:
        """Apply `call` to `journal`, and return the result.

        If `call` is a claim, the journal stores `new`.
        """
        name, task = self.target(call)
        match call.name:
            case "claim":
                record = SubmissionRecord(id=new.id, run=new.run, key=new.key, digest=new.digest)
                return (await journal.claim(record)).id
            case "advance":
                await journal.advance(name, call.state, task_id=task * (call.state is CREATED))
            case "settle":
                await journal.settle(name, task if call.text else None)
            case "result":
                await journal.keep_results([TaskRecord(task_id=task, status=call.text or "z")])
            case "hold":
                await journal.hold("r")
            case "release":
                await journal.release("r")
            case _:
                return (await journal.heartbeat()).count
        return None

    async def compare(self) -> None:
        """Check that the journal has the same submissions, tasks and reserved runs as the model."""
        entries = await stored(self.journals[0])
        found = [each.submission for each in entries if each.submission]
        assert [
            Sub(each.id, each.run, each.key, each.digest, "", each.state, each.task_id)
            for each in found
        ] == [msgspec.structs.replace(each, owner="") for each in self.model.subs.values()]
        tasks = {each.task.task_id: each.task.status for each in entries if each.task}
        assert tasks == self.model.tasks
        for run in await self.journals[0].runs():
            holder = self.model.holders.get(run.run)
            assert bool(run.holder) is (holder is not None and self.is_live(holder))

    def is_live(self, owner: str) -> bool:
        """Return whether the journal of the first client treats an owner as live."""
        return owner == self.owners[0] or self.model.alive(owner)


@given(st.lists(CALLS, min_size=10, max_size=60))
def test_the_journal_follows_the_model(calls: list[Call]) -> None:
    """Each call has the same result in the journal and in the model."""

    async def main(path: Path) -> None:
        pair = Pair(path)
        for number in (0, 1):
            await pair.open(number)
        for call in calls:
            await pair.apply(call)
        await pair.compare()
        for number in (0, 1):
            await pair.close(number)

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "j.db"
        asyncio.run(main(path))
        check_integrity(path)
