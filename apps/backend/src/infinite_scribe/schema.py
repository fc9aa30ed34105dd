"""The database schema: small enough to be created by whichever process connects first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncpg

# Any constant will do, as long as every process agrees on it.
_LOCK: Final = 0x1F17E_5C41BE

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS novels (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    title      text NOT NULL,
    premise    text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS novels_newest ON novels (created_at DESC, id);

CREATE TABLE IF NOT EXISTS tasks (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    novel_id     uuid NOT NULL REFERENCES novels ON DELETE CASCADE,
    agent        text NOT NULL,
    instruction  text NOT NULL,
    status       text NOT NULL DEFAULT 'queued'
                 CHECK (status IN ('queued', 'running', 'succeeded', 'failed')),
    result       text,
    error        text,
    attempts     integer NOT NULL DEFAULT 0,
    leased_until timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS tasks_newest ON tasks (novel_id, created_at DESC, id);
CREATE INDEX IF NOT EXISTS tasks_open ON tasks (agent, created_at)
    WHERE status IN ('queued', 'running');
"""


async def prepare(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Create what is missing.

    Runs on every new connection, so that a database which comes back empty is set up again too.
    IF NOT EXISTS alone is not safe between processes that start together: the lock makes it so.
    """
    if await connection.fetchval("SELECT to_regclass('tasks') IS NULL"):
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute(_TABLES)
