"""Store the results of a pipeline in PostgreSQL. The built-in sandbox simulates the API.

Usage: ``DATABASE_URL=postgresql://user:password@host/database python examples/postgresql.py``
"""

from __future__ import annotations

import asyncio
import os

import msgspec
import psycopg
from psycopg import sql

from suno_async import (
    GenerateMusic,
    JobOutcome,
    PollPolicy,
    ResultRecord,
    SunoClient,
    TrackRecord,
    result_record,
    track_records,
)
from suno_async.sandbox import Sandbox

SPEED = 60  # the sandbox's jobs are this many times faster than real jobs
RUN = "example"

TABLES = """
CREATE TABLE IF NOT EXISTS results (
    task_id text NOT NULL,
    status text NOT NULL,
    kind text NOT NULL,
    error text NOT NULL,
    created_at double precision,
    ended_at double precision,
    duration double precision,
    credits double precision,
    songs integer NOT NULL,
    input text NOT NULL,
    run text NOT NULL,
    position integer NOT NULL,
    key text NOT NULL,
    submission_id text NOT NULL,
    account text NOT NULL,
    PRIMARY KEY (run, position)
);
CREATE TABLE IF NOT EXISTS tracks (
    task_id text NOT NULL,
    index integer NOT NULL,
    kind text NOT NULL,
    suno_id text NOT NULL,
    title text NOT NULL,
    tags text NOT NULL,
    prompt text NOT NULL,
    model_name text NOT NULL,
    duration double precision,
    created_at double precision,
    url text NOT NULL,
    image_url text NOT NULL,
    PRIMARY KEY (task_id, index)
);
"""


def upsert(table: str, record: type[msgspec.Struct], key: tuple[str, ...]) -> sql.Composed:
    """Return the SQL statement that inserts a row, or replaces the row with the same key.

    Args:
        table: The name of the table.
        record: The class with one field for each column.
        key: The columns of the primary key.
    """
    columns = record.__struct_fields__
    changed = [
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name))
        for name in columns
        if name not in key
    ]
    return sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(map(sql.Placeholder, columns)),
        sql.SQL(", ").join(map(sql.Identifier, key)),
        sql.SQL(", ").join(changed),
    )


INSERT_RESULT = upsert("results", ResultRecord, ("run", "position"))
INSERT_TRACK = upsert("tracks", TrackRecord, ("task_id", "index"))


async def store(database: psycopg.AsyncConnection, outcome: JobOutcome) -> None:
    """Store an outcome and its songs in one transaction.

    A second call with the same outcome changes nothing.
    """
    result = msgspec.structs.replace(result_record(outcome), run=RUN)
    async with database.transaction(), database.cursor() as cursor:
        await cursor.execute(INSERT_RESULT, msgspec.structs.asdict(result))
        songs = [msgspec.structs.asdict(song) for song in track_records(outcome)]
        await cursor.executemany(INSERT_TRACK, songs)


async def main() -> None:
    """Create twenty songs, and store the outcome of each job as soon as the job has ended."""
    address = os.environ.get("DATABASE_URL", "postgresql:///postgres")
    jobs = [GenerateMusic(f"night train {number}", instrumental=True) for number in range(20)]
    async with (
        await psycopg.AsyncConnection.connect(address, autocommit=True) as database,
        Sandbox(seed=1, time_scale=SPEED, failure_share=0.2) as sandbox,
        # For the real service: SunoClient(), with the key in SUNO_API_KEY.
        SunoClient(sandbox.key, base_url=sandbox.url, policy=PollPolicy().scaled(SPEED)) as suno,
    ):
        await database.execute(TABLES)
        async for outcome in suno.pipeline(jobs):
            await store(database, outcome)
        for status, count, songs in await (
            await database.execute(
                "SELECT status, count(*), sum(songs) FROM results WHERE run = %s GROUP BY 1"
                " ORDER BY 1",
                [RUN],
            )
        ).fetchall():
            print(f"{status}: {count} jobs, {songs} songs")


if __name__ == "__main__":
    asyncio.run(main())
