"""One Redis stream per agent, read by a consumer group: it wakes a runner as soon as there is
work and spreads work over runners. It is not the record of what is to be done: the table is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from infinite_scribe.dependencies import Redis

GROUP: Final = "runners"
FIELD: Final = b"task"


class Entry(NamedTuple):
    """One announcement of a task; `task_id` is None where what was found is no such thing."""

    id: bytes
    task_id: UUID | None


def _parse(reply: Iterable[tuple[bytes, Mapping[bytes, bytes] | None]]) -> list[Entry]:
    # Raw bytes on purpose: were the client to decode, one entry that is not UTF-8 would fail the
    # whole read, again and again.
    entries = []
    for entry_id, fields in reply:
        try:
            task_id = UUID((fields or {})[FIELD].decode())
        except (KeyError, ValueError):
            task_id = None
        entries.append(Entry(entry_id, task_id))
    return entries


class TaskQueue:
    """The stream of one agent."""

    def __init__(self, redis: Redis, prefix: str, agent: str) -> None:
        self._redis = redis
        self._key = f"{prefix}:{agent}"

    async def announce(self, task_id: UUID) -> None:
        """Tell the runners of a task."""
        with self._redis.client() as client:
            await client.xadd(self._key, {FIELD: str(task_id)})

    async def join(self) -> None:
        """Create the group where there is none yet, reading from the stream's beginning."""
        with self._redis.client() as client:
            try:
                await client.xgroup_create(self._key, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    async def take(self, consumer: str, wait: float) -> list[Entry]:
        """At most one new entry, waiting for it some seconds."""
        return await self._read(consumer, ">", int(wait * 1000))

    async def unsettled(self, consumer: str) -> list[Entry]:
        """What this consumer took earlier and never settled."""
        return await self._read(consumer, "0")

    async def stale(self, consumer: str, idle: float) -> list[Entry]:
        """What other consumers took some seconds ago and never settled: now this one's."""
        with self._redis.client() as client:
            reply = await client.xautoclaim(self._key, GROUP, consumer, int(idle * 1000), count=10)
        return _parse(reply[1])

    async def settle(self, entry: Entry | None, *, announce: UUID | None = None) -> None:
        """Acknowledge and delete, as nobody reads an entry twice and the stream stays short;
        in the same step announce a task anew, where one is to be handed back."""
        with self._redis.client() as client:
            pipeline = client.pipeline(transaction=True)
            if announce:
                pipeline.xadd(self._key, {FIELD: str(announce)})
            if entry:
                pipeline.xack(self._key, GROUP, entry.id)
                pipeline.xdel(self._key, entry.id)
            await pipeline.execute()

    async def _read(self, consumer: str, start: str, block: int | None = None) -> list[Entry]:
        with self._redis.client() as client:
            reply: Any = await client.xreadgroup(
                GROUP, consumer, {self._key: start}, count=1, block=block
            )
        return _parse(reply[0][1]) if reply else []
