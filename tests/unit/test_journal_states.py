"""Tests of what an SQLite journal stores: submissions, tasks, runs and durations.

A *create* is a request that creates a task. A *submission* is the record of one create. `claim`
stores a planned submission, or returns the earlier submission with the same key. `advance` changes
the state of a submission. `settle` records how a submission in the state ``unknown`` ended. A *run*
is a named group of submissions. A *label* is the name of an account.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec
import pytest

from suno_async import InputChangedError, JournalError, SubmissionState
from suno_async.journal import _queries
from suno_async.journal.base import SubmissionRecord, TaskRecord
from tests.journals import Clock, client, opened, planned, states, stored

if TYPE_CHECKING:
    from pathlib import Path

    from suno_async.journal.sqlite import SqliteJournal

PLANNED, SENDING, CREATED, REFUSED, NOT_SENT, UNKNOWN = SubmissionState
#: The states that each state may change to, the state itself included.
ALLOWED = {
    PLANNED: set(SubmissionState),
    SENDING: set(SubmissionState),
    CREATED: {CREATED},
    REFUSED: {REFUSED, CREATED},
    NOT_SENT: {NOT_SENT, CREATED},
    UNKNOWN: {UNKNOWN, REFUSED, NOT_SENT, CREATED},
}


async def bring_to(journal: SqliteJournal, state: SubmissionState) -> None:
    """Claim the submission "s", and bring it to `state`."""
    await journal.claim(planned("s", key="k"))
    if state is not PLANNED:
        await journal.advance("s", SENDING)
    if state.ended:
        task_id = "t" if state is CREATED else ""
        await journal.advance("s", state, task_id=task_id, created_at=5.0, error="why")


@pytest.mark.parametrize("owned", [True, False])
@pytest.mark.parametrize(
    ("start", "end"), list(itertools.product(SubmissionState, SubmissionState))
)
async def test_transitions(
    tmp_path: Path, start: SubmissionState, end: SubmissionState, *, owned: bool
) -> None:
    """A submission can only change its state as listed in `ALLOWED`.

    Only the client that claimed the submission can set the states ``planned`` and ``sending``.
    """
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock)) as mine, opened(client(path, clock, 2)) as other:
        await bring_to(mine, start)
        clock.now += 1
        allowed = end in ALLOWED[start] and (owned or end.ended)
        task_id = "t" if end is CREATED else ""
        journal = mine if owned else other
        if allowed:
            await journal.advance("s", end, task_id=task_id, error="now")
        else:
            with pytest.raises(JournalError, match="'s'"):
                await journal.advance("s", end, task_id=task_id)
        (entry,) = await stored(mine)
        assert entry.submission is not None
        assert entry.submission.state is (end if allowed else start)
        assert (entry.task is not None) is (entry.submission.state is CREATED)
        if not allowed:
            assert entry.submission.changed_at == clock.now - 1


async def test_a_created_submission_keeps_its_task(tmp_path: Path) -> None:
    """The journal refuses a second task for a submission."""
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        await bring_to(journal, CREATED)
        with pytest.raises(JournalError, match=r"created with task t: it cannot become .* task u"):
            await journal.advance("s", CREATED, task_id="u")
        with pytest.raises(JournalError, match="needs a task id"):
            await journal.advance("s", CREATED)


async def test_a_paid_task_is_never_dropped(tmp_path: Path) -> None:
    """The journal stores the id of a created task even if another submission replaced its own."""
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock)) as slow, opened(client(path, clock, 2)) as other:
        await bring_to(slow, UNKNOWN)
        await other.settle("s", None)
        assert (await other.claim(planned("again", key="k"))).id == "again"
        await slow.advance("s", CREATED, task_id="t", created_at=5.0)
        with pytest.raises(JournalError, match="no submission 's'"):
            await slow.advance("s", REFUSED)
        assert await other.find_tasks(["t"]) == {
            "t": TaskRecord(task_id="t", account="a", created_at=5.0)
        }


@pytest.mark.parametrize("state", SubmissionState)
async def test_claim_with_a_used_key(tmp_path: Path, state: SubmissionState) -> None:
    """`claim` replaces an earlier submission only if that submission was refused or not sent."""
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        await bring_to(journal, state)
        again = await journal.claim(planned("new", key="k"))
        replaced = state in {REFUSED, NOT_SENT}
        assert again.id == ("new" if replaced else "s")
        assert again.state is (PLANNED if replaced else state)
        assert set(await states(journal)) == {again.id}
        assert (await journal.claim(planned("other run", key="k", run="r"))).id == "other run"


async def test_a_changed_input(tmp_path: Path) -> None:
    """`claim` fails if an earlier submission has the same key but a different job.

    If the create of the earlier submission was refused, `claim` succeeds.
    """
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        await bring_to(journal, SENDING)
        with pytest.raises(InputChangedError) as caught:
            await journal.claim(planned("new", key="k", digest="other"))
        assert (caught.value.run, caught.value.key) == ("", "k")
        await journal.advance("s", REFUSED)
        assert (await journal.claim(planned("new", key="k", digest="other"))).digest == "other"


async def test_claims_without_a_key(tmp_path: Path) -> None:
    """Each claim without a key stores a new submission."""
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        for name in ("one", "two"):
            assert (await journal.claim(planned(name))).id == name
        with pytest.raises(JournalError, match="already has a submission 'one'"):
            await journal.claim(planned("one"))
        assert await states(journal) == {"one": "planned", "two": "planned"}


async def test_records_round_trip(tmp_path: Path) -> None:
    """The journal returns a stored submission with all its fields."""
    clock = Clock()
    record = SubmissionRecord(
        id="s",
        account="ignored",
        kind="suno/music-generate",
        job=b'{"prompt":"\xe9\x9b\xa8"}',
        digest="d",
        run="r",
        position=7,
        key="k",
        callback_url="https://example.com/hook",
    )
    async with opened(client(tmp_path / "j.db", clock)) as journal:
        claimed = await journal.claim(record)
        await journal.advance("s", SENDING)
        clock.now += 2
        await journal.advance("s", CREATED, task_id="t", created_at=clock.now - 1)
        (entry,) = await stored(journal)
    assert claimed == SubmissionRecord(
        id="s",
        account="a",
        kind=record.kind,
        job=record.job,
        digest="d",
        run="r",
        position=7,
        key="k",
        callback_url=record.callback_url,
        planned_at=clock.now - 2,
        changed_at=clock.now - 2,
    )
    assert entry.submission == msgspec.structs.replace(
        claimed, state=CREATED, task_id="t", created_at=clock.now - 1, changed_at=clock.now
    )
    task = TaskRecord(task_id="t", account="a", kind=record.kind, created_at=clock.now - 1)
    assert entry.task == task
    assert not task.ended


async def test_settle(tmp_path: Path) -> None:
    """Only a submission in the state ``unknown`` can be settled."""
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        await bring_to(journal, UNKNOWN)
        settled = await journal.settle("s", "t")
        assert (settled.state, settled.task_id, settled.error) == (CREATED, "t", "")
        assert set(await journal.find_tasks(["t"])) == {"t"}
        with pytest.raises(JournalError, match="is created, not unknown"):
            await journal.settle("s", None)
        with pytest.raises(JournalError, match="no submission 'x'"):
            await journal.settle("x", None)
        await journal.claim(planned("other"))
        await journal.advance("other", UNKNOWN)
        assert (await journal.settle("other", None)).state is NOT_SENT


async def test_results(tmp_path: Path) -> None:
    """The journal keeps only the first result of a task."""
    clock = Clock()
    first = TaskRecord(task_id="t", status="success", raw=b"one")
    async with opened(client(tmp_path / "j.db", clock)) as journal:
        await bring_to(journal, CREATED)
        await journal.keep_results([first])
        await journal.keep_results([TaskRecord(task_id="t", status="failed", raw=b"two")])
        await journal.keep_results(
            [TaskRecord(task_id="u", kind="k", status="failed", ended_at=9.0)]
        )
        found = await journal.find_tasks(["t", "u", "v"])
    assert found["t"] == TaskRecord(
        task_id="t",
        account="a",
        kind="suno/music-generate",
        created_at=5.0,
        status="success",
        ended_at=clock.now,
        raw=b"one",
    )
    assert found["u"] == TaskRecord(
        task_id="u", account="a", kind="k", status="failed", ended_at=9.0
    )
    assert len(found) == 2
    assert found["t"].ended


async def test_a_late_create_does_not_open_an_ended_task(tmp_path: Path) -> None:
    """If a create is recorded after its task has ended, the result of the task does not change."""
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        await bring_to(journal, SENDING)
        await journal.keep_results([TaskRecord(task_id="t", status="success", raw=b"one")])
        await journal.advance("s", CREATED, task_id="t", created_at=5.0)
        task = (await journal.find_tasks(["t"]))["t"]
    assert (task.status, task.raw, task.created_at) == ("success", b"one", 5.0)
    assert task.kind == "suno/music-generate"


async def test_entries(tmp_path: Path) -> None:
    """`entries` yields submissions in the order of `claim`, then tasks without a submission."""

    def names(entries: list[object]) -> list[str]:
        found: list[str] = []
        for entry in entries:
            submission, task = getattr(entry, "submission"), getattr(entry, "task")  # noqa: B009
            found.append(submission.id if submission else task.task_id)
        return found

    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        await journal.keep_results([TaskRecord(task_id="old", status="success")])
        await journal.keep_results([TaskRecord(task_id="elsewhere")])
        for name, run in (("c", "r"), ("a", ""), ("b", "r"), ("d", "r")):
            await journal.claim(planned(name, run=run))
        for name in "cab":
            await journal.advance(name, CREATED, task_id=f"t-{name}")
        await journal.keep_results([TaskRecord(task_id="t-c", status="failed")])

        async def read(**given: object) -> list[str]:
            return names(list(await stored(journal, **given)))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

        assert await read() == ["c", "a", "b", "d", "old", "elsewhere"]
        assert await read(run="r") == ["c", "b", "d"]
        assert await read(run="") == ["a", "old", "elsewhere"]
        assert await read(states={CREATED}) == ["c", "a", "b"]
        assert await read(states=[PLANNED, UNKNOWN], run="r") == ["d"]
        assert await read(states=[]) == []
        assert await read(open_only=True) == ["a", "b", "elsewhere"]
        assert await read(open_only=True, run="r") == ["b"]


async def test_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`entries` reads page by page, and yields each entry once.

    It does not yield submissions that are added while it reads.
    """
    monkeypatch.setattr(_queries, "PAGE", 3)
    async with opened(client(tmp_path / "j.db", Clock())) as journal:
        for number in range(10):
            await journal.claim(planned(f"s{number}"))
            await journal.keep_results([TaskRecord(task_id=f"t{number}", status="success")])
        found: list[str] = []
        async for entry in journal.entries():
            if entry.submission is not None:
                found.append(entry.submission.id)
                await journal.claim(planned(f"new {len(found)}"))
            elif entry.task is not None:
                found.append(entry.task.task_id)
        assert found == [f"{kind}{number}" for kind in "st" for number in range(10)]
        many = await journal.find_tasks([f"t{number}" for number in range(20)])
        assert len(many) == 10


async def test_runs(tmp_path: Path) -> None:
    """`runs` returns the states, task counts and times of each run, the newest run first."""
    clock, path = Clock(), tmp_path / "j.db"
    start = clock.now
    async with opened(client(path, clock, 7)) as journal:
        assert await journal.runs() == []
        for name in "abcd":
            await journal.claim(planned(name, run="one"))
        await journal.claim(planned("x"))
        for name in "abc":
            await journal.advance(name, CREATED, task_id=f"t-{name}")
        await journal.keep_results([TaskRecord(task_id="t-a", status="success")])
        clock.now += 5
        await journal.keep_results([TaskRecord(task_id="t-b", status="failed")])
        await journal.claim(planned("e", run="two"))
        await journal.hold("two")
        two, one = await journal.runs()
    assert (one.run, one.account, one.states) == ("one", "a", {"created": 3, "planned": 1})
    assert (one.open, one.succeeded, one.failed, one.holder) == (1, 1, 1, "")
    assert (one.started_at, one.changed_at) == (start, start + 5)
    assert (two.run, two.holder, two.states) == ("two", "process 7 on host", {"planned": 1})
    assert two.started_at == start + 5


async def test_durations(tmp_path: Path) -> None:
    """A journal that is opened again returns the durations that were saved last."""
    path = tmp_path / "j.db"
    async with opened(client(path, Clock())) as journal:
        assert await journal.load_durations() is None
        await journal.save_durations(b"one")
        await journal.save_durations(b"two")
    async with opened(client(path, Clock())) as journal:
        assert await journal.load_durations() == b"two"


async def test_accounts_are_separate(tmp_path: Path) -> None:
    """A journal that was opened for an account returns only the rows of this account."""
    clock, path = Clock(), tmp_path / "j.db"
    async with (
        opened(client(path, clock), "a") as one,
        opened(client(path, clock, 2), "b") as other,
        opened(client(path, clock, 3), None) as both,
    ):
        await bring_to(one, UNKNOWN)
        assert (await other.claim(planned("s2", key="k"))).id == "s2"
        await other.keep_results([TaskRecord(task_id="t", status="success")])
        assert await one.find_tasks(["t"]) == {}
        assert set(await both.find_tasks(["t"])) == {"t"}
        assert await states(one) == {"s": "unknown"}
        assert await states(both) == {"s": "unknown", "s2": "planned"}
        with pytest.raises(JournalError, match="another account"):
            await other.settle("s", None)
        assert (await both.settle("s", "t9")).account == "a"


async def test_without_an_account(tmp_path: Path) -> None:
    """A journal opened without an account can store results, but cannot claim submissions."""
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock)) as journal, opened(client(path, clock, 2), None) as all_:
        await bring_to(journal, PLANNED)
        for refused in (
            all_.claim(planned("x")),
            all_.advance("s", SENDING),
            all_.hold("r"),
            all_.heartbeat(),
            all_.save_durations(b""),
        ):
            with pytest.raises(JournalError, match="without an account"):
                await refused
        assert (await journal.heartbeat()).count == 1
        await all_.keep_results([TaskRecord(task_id="t", account="a", status="success")])
        await all_.keep_results([TaskRecord(task_id="t", status="failed")])
        assert (await journal.find_tasks(["t"]))["t"].status == "success"


async def test_rebind(tmp_path: Path) -> None:
    """`rebind` moves all data to a new label if no other live client uses the old label."""
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock), "old") as journal:
        await bring_to(journal, CREATED)
        await journal.hold("r")
        await journal.save_durations(b"data")
        assert await journal.rebind("old", "old") == 0
        assert await journal.rebind("old", "new") == 2
        assert (await journal.claim(planned("s2", key="k"))).account == "new"
        assert await journal.load_durations() == b"data"
        assert (await journal.heartbeat()).count == 1
        async with opened(client(path, clock, 2), "x") as other:
            with pytest.raises(JournalError, match="'new' is in use by process 1 on host"):
                await other.rebind("new", "y")
        assert await states(journal) == {"s": "created"}
    async with opened(client(path, clock, 3), None) as repair:
        assert await repair.rebind("new", "newest") == 2
        assert [each.account for each in await repair.runs()] == []


async def test_rebind_to_a_label_in_use(tmp_path: Path) -> None:
    """If both labels have data, `rebind` merges the data.

    If both have a submission with the same run and key, and neither submission is ``refused`` or
    ``not_sent``, `rebind` raises `JournalError`.
    """
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock), "old") as old:
        await old.keep_results([TaskRecord(task_id="t", status="success", raw=b"old")])
        await old.keep_results([TaskRecord(task_id="u")])
        await old.claim(planned("s1", key="k", run="r"))
        await old.advance("s1", REFUSED)
        await old.claim(planned("s2", key="l", run="r"))
        await old.advance("s2", CREATED, task_id="v")
        await old.save_durations(b"old")
    async with opened(client(path, clock), "new") as new:
        await new.keep_results([TaskRecord(task_id="t")])
        await new.keep_results([TaskRecord(task_id="u", status="failed")])
        await new.claim(planned("s3", key="k", run="r"))
        await new.save_durations(b"new")
    async with opened(client(path, clock), None) as repair:
        await repair.rebind("old", "new")
        assert await repair.load_durations() == b"new"
        assert {key: each.status for key, each in (await repair.find_tasks("tuv")).items()} == {
            "t": "success",
            "u": "failed",
            "v": "",
        }
        assert set(await states(repair)) == {"s2", "s3"}
    async with opened(client(path, clock), "third") as third:
        await third.claim(planned("s4", key="l", run="r"))
        await third.advance("s4", UNKNOWN)
        with pytest.raises(JournalError, match="both have a submission with the key 'l' in run"):
            await third.rebind("new", "third")


async def test_rebind_with_a_run_in_use_under_both_labels(tmp_path: Path) -> None:
    """`rebind` raises `JournalError` if both labels have a reserved run with the same name."""
    clock, path = Clock(), tmp_path / "j.db"
    async with opened(client(path, clock), "old") as old, opened(client(path, clock), "new") as new:
        await old.hold("r")
        await new.hold("r")
        with pytest.raises(JournalError, match="run 'r' is in use under 'old' and under 'new'"):
            await old.rebind("old", "new")
        await new.release("r")
        assert await old.rebind("old", "new") == 0
