"""Novels and tasks in Postgres, which alone decides who may run a task.

A runner holds a task by a lease that it renews. `attempts` counts the claims and doubles as
fencing token: a runner whose lease has passed to another can no longer write anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

    from infinite_scribe.dependencies import Postgres

_NOVEL: Final = "id, title, premise, created_at"
_TASK: Final = "id, novel_id, agent, instruction, status, result, error, created_at, updated_at"
_CLAIM: Final = """
UPDATE tasks t
SET status = 'running', attempts = attempts + 1, updated_at = now(),
    leased_until = now() + $2::interval
FROM novels n
WHERE n.id = t.novel_id AND t.id = (
    SELECT id FROM tasks WHERE agent = $1 AND {condition}
    ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING t.id, t.instruction, t.attempts, n.title, n.premise
"""
_EXPIRED: Final = "status = 'running' AND leased_until < now()"
_CLAIM_ONE: Final = _CLAIM.format(condition=f"id = $3 AND (status = 'queued' OR {_EXPIRED})")
_CLAIM_OVERDUE: Final = _CLAIM.format(
    condition=f"((status = 'queued' AND updated_at < now() - $2::interval) OR ({_EXPIRED}))"
)
_HELD: Final = "id = $1 AND attempts = $2 AND status = 'running'"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task in the hands of a runner, with what it needs to know to do it."""

    id: UUID
    instruction: str
    attempts: int
    title: str
    premise: str


class Store:
    """All statements that this system runs."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def _rows(self, statement: str, *values: object) -> list[asyncpg.Record]:
        async with self._postgres.connection() as connection:
            return await connection.fetch(statement, *values)

    async def _row(self, statement: str, *values: object) -> asyncpg.Record | None:
        return next(iter(await self._rows(statement, *values)), None)

    async def ping(self) -> None:
        """Raise unless statements can be run."""
        await self._postgres.ping()

    # What the gateway asks for.

    async def novels(self, limit: int) -> list[asyncpg.Record]:
        """The newest novels."""
        return await self._rows(
            f"SELECT {_NOVEL} FROM novels ORDER BY created_at DESC, id LIMIT $1", limit
        )

    async def novel(self, novel_id: UUID) -> asyncpg.Record | None:
        """One novel."""
        return await self._row(f"SELECT {_NOVEL} FROM novels WHERE id = $1", novel_id)

    async def add_novel(self, title: str, premise: str) -> asyncpg.Record:
        """Create a novel."""
        rows = await self._rows(
            f"INSERT INTO novels (title, premise) VALUES ($1, $2) RETURNING {_NOVEL}",
            title,
            premise,
        )
        return rows[0]

    async def remove_novel(self, novel_id: UUID) -> bool:
        """Delete a novel and its tasks; False where there is none."""
        return bool(await self._row("DELETE FROM novels WHERE id = $1 RETURNING id", novel_id))

    async def tasks(self, novel_id: UUID, limit: int) -> list[asyncpg.Record]:
        """The newest tasks of a novel."""
        return await self._rows(
            f"SELECT {_TASK} FROM tasks WHERE novel_id = $1 ORDER BY created_at DESC, id LIMIT $2",
            novel_id,
            limit,
        )

    async def task(self, task_id: UUID) -> asyncpg.Record | None:
        """One task."""
        return await self._row(f"SELECT {_TASK} FROM tasks WHERE id = $1", task_id)

    async def add_task(self, novel_id: UUID, agent: str, instruction: str) -> asyncpg.Record | None:
        """Queue a task; None where there is no such novel (the lock keeps it from vanishing)."""
        return await self._row(
            "INSERT INTO tasks (novel_id, agent, instruction) "
            "SELECT id, $2, $3 FROM novels WHERE id = $1 FOR KEY SHARE "
            f"RETURNING {_TASK}",
            novel_id,
            agent,
            instruction,
        )

    async def withdraw_task(self, task_id: UUID) -> bool:
        """Delete a task that nobody has begun; False where somebody has."""
        return bool(
            await self._row(
                "DELETE FROM tasks WHERE id = $1 AND status = 'queued' RETURNING id", task_id
            )
        )

    # What a runner asks for.

    async def claim(self, agent: str, task_id: UUID, lease: float) -> Assignment | None:
        """Take this task, unless it is finished, deleted or in another runner's hands."""
        return await self._claim(_CLAIM_ONE, agent, lease, task_id)

    async def claim_overdue(self, agent: str, lease: float) -> Assignment | None:
        """Take the oldest task that its announcement or its runner has failed."""
        return await self._claim(_CLAIM_OVERDUE, agent, lease)

    async def _claim(
        self, statement: str, agent: str, lease: float, *values: object
    ) -> Assignment | None:
        row = await self._row(statement, agent, timedelta(seconds=lease), *values)
        return Assignment(**row) if row else None

    async def renew(self, task: Assignment, lease: float) -> bool:
        """Extend the lease; False where the task is no longer ours."""
        return bool(
            await self._row(
                f"UPDATE tasks SET leased_until = now() + $3::interval WHERE {_HELD} RETURNING id",
                task.id,
                task.attempts,
                timedelta(seconds=lease),
            )
        )

    async def finish(self, task: Assignment, *, result: str | None, error: str | None) -> bool:
        """Store the outcome; False where the task is no longer ours."""
        return bool(
            await self._row(
                "UPDATE tasks SET status = CASE WHEN $4::text IS NULL THEN 'succeeded' "
                "ELSE 'failed' END, result = $3, error = $4, leased_until = NULL, "
                f"updated_at = now() WHERE {_HELD} RETURNING id",
                task.id,
                task.attempts,
                result,
                error,
            )
        )

    async def release(self, task: Assignment) -> bool:
        """Put a task back that we were asked to stop working on; it costs no attempt."""
        return bool(
            await self._row(
                "UPDATE tasks SET status = 'queued', attempts = attempts - 1, "
                f"leased_until = NULL, updated_at = now() WHERE {_HELD} RETURNING id",
                task.id,
                task.attempts,
            )
        )
