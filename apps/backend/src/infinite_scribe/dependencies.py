"""Postgres and Redis as things that may be away at any moment.

A connection is made when it is needed, never at the start, so a process runs without them,
says precisely what is missing, and recovers with the first call that succeeds.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol, Self, cast

import asyncpg
import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from infinite_scribe import schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator

    from asyncpg.pool import PoolConnectionProxy

OK: Final = "ok"
CHECK_TIMEOUT: Final = 1.5
CALL_TIMEOUT: Final = 5.0
MONITOR_PERIOD: Final = 5.0

# Classes of SQLSTATE that say "not now" or "not here" rather than "wrong statement": connection,
# authorization, no such database, resources, operator intervention (shutdown, starting up).
_UNAVAILABLE_CLASSES: Final = ("08", "28", "3D", "53", "57")

log = structlog.get_logger(__name__)


class UnavailableError(Exception):
    """A dependency could not be reached or would not serve us."""

    def __init__(self, dependency: str, reason: str) -> None:
        super().__init__(f"{dependency} is unavailable: {reason}")
        self.dependency = dependency
        self.reason = reason


def describe(error: BaseException) -> str:
    """Why a call failed, in one short phrase: its root cause where we know it."""
    cause: BaseException | None = error
    while cause:
        match cause:
            case UnavailableError():
                return cause.reason
            case socket.gaierror():
                return "host name not found"
            case ConnectionRefusedError():
                return "connection refused"
            case TimeoutError() | redis.exceptions.TimeoutError():
                return "timed out"
        cause = cause.__cause__ or cause.__context__
    return (str(error) or type(error).__name__).splitlines()[0][:120]


def backoff(first: float = 0.25, ceiling: float = 5.0) -> Iterator[float]:
    """Seconds to wait before each further try."""
    while True:
        yield first
        first = min(first * 2, ceiling)


class Dependency(Protocol):
    """What health checks need to know of a dependency."""

    name: str

    async def ping(self) -> None:
        """Return if it answers, raise if it does not."""


async def check(dependency: Dependency) -> str:
    """OK, or why not, in bounded time whatever the dependency does."""
    probe = asyncio.create_task(dependency.ping())
    try:
        done, _ = await asyncio.wait({probe}, timeout=CHECK_TIMEOUT)
    finally:
        # Also if nobody waits for us any longer. Not awaited: a driver may take its time to give up
        # on a silent peer.
        probe.cancel()
    if not done:
        return "timed out"
    error = probe.exception()
    return OK if error is None else describe(error)


async def monitor(dependency: Dependency) -> None:
    """Keep trying, and log each change, so that an outage can be read off the logs."""
    last, delays = None, backoff()
    while True:
        state = await check(dependency)
        if state != last:
            write = log.info if state == OK else log.warning
            write("dependency changed", dependency=dependency.name, state=state)
            last, delays = state, backoff()
        await asyncio.sleep(MONITOR_PERIOD if state == OK else next(delays))


class Postgres:
    """The pool of connections to the database."""

    name = "postgres"

    def __init__(self, url: str | None) -> None:
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        if url:
            self._pool = asyncpg.create_pool(
                url,
                min_size=0,
                max_size=8,
                timeout=CALL_TIMEOUT,
                command_timeout=CALL_TIMEOUT,
                init=schema.prepare,
            )

    async def __aenter__(self) -> Self:
        if self._pool:
            await self._pool  # Opens nothing yet: min_size is 0.
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pool:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[PoolConnectionProxy[asyncpg.Record]]:
        """A connection with the schema in place."""
        if not self._pool:
            raise UnavailableError(self.name, "DATABASE_URL is not set")
        try:
            async with self._pool.acquire(timeout=CALL_TIMEOUT) as connection:
                yield connection
        except (OSError, asyncpg.InterfaceError, asyncpg.PostgresError) as error:
            state = getattr(error, "sqlstate", None)
            if state and not state.startswith(_UNAVAILABLE_CLASSES):
                raise
            raise UnavailableError(self.name, describe(error)) from error

    async def ping(self) -> None:
        """Ask for the simplest answer."""
        async with self.connection() as connection:
            await connection.execute("SELECT 1")


class Redis:
    """The client of the task streams."""

    name = "redis"

    def __init__(self, url: str | None) -> None:
        self._client: redis.asyncio.Redis | None = None
        if url:
            self._client = redis.asyncio.Redis.from_url(
                url,
                socket_connect_timeout=CALL_TIMEOUT,
                socket_timeout=CALL_TIMEOUT,
                # At once and once: replaces a connection that died with a restarted server.
                retry=Retry(NoBackoff(), 1),
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client:
            # A peer that fell silent must not hold up the end of the process.
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await self._client.aclose()

    @contextmanager
    def client(self) -> Iterator[redis.asyncio.Redis]:
        """The client, with its errors translated."""
        if not self._client:
            raise UnavailableError(self.name, "REDIS_URL is not set")
        try:
            yield self._client
        except (OSError, redis.RedisError) as error:
            raise UnavailableError(self.name, describe(error)) from error

    async def ping(self) -> None:
        """Ask for the simplest answer."""
        with self.client() as client:
            # Typed as either client's answer; this is the asynchronous one's.
            await cast("Awaitable[bool]", client.ping())
