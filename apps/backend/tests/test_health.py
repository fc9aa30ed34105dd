"""What /health says while dependencies come and go."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import asyncpg
import pytest

from infinite_scribe import schema
from infinite_scribe.health import Health
from tests.support import Link, Role, free_port, running, through, together, until

if TYPE_CHECKING:
    from tests.conftest import Backing

ROLES = ["api-gateway", "agent-critic"]


async def test_a_healthy_gateway(gateway: Role) -> None:
    checks = {"postgres": "ok", "redis": "ok"}
    expected = {"status": "ok", "role": "api-gateway", "checks": checks}
    for path in ("/health", "/api/v1/health"):
        response = await gateway.http.get(path)
        assert (response.status_code, response.json()) == (200, expected)


async def test_a_healthy_agent(backing: Backing) -> None:
    async with Role("agent-critic", **backing.settings) as role:
        checks = {"postgres": "ok", "redis": "ok"}
        assert await role.health() == (
            200,
            {"status": "ok", "role": "agent-critic", "checks": checks},
        )
        assert (await role.http.get("/")).status_code == 404


async def test_each_missing_dependency_is_named(backing: Backing) -> None:
    closed = free_port()
    refusing = {
        "DATABASE_URL": through(backing.database_url, closed),
        "REDIS_URL": through(backing.redis_url, closed),
    }
    unknown = {
        "DATABASE_URL": "postgresql://u:p@nowhere.invalid/x",
        "REDIS_URL": "redis://nowhere.invalid",
    }
    no_postgres = backing.settings | {"DATABASE_URL": refusing["DATABASE_URL"]}
    no_redis = backing.settings | {"REDIS_URL": refusing["REDIS_URL"]}

    async def verify(name: str, settings: dict[str, str], postgres: str, redis: str) -> None:
        async with Role(name, **settings) as role:
            checks = {"postgres": postgres, "redis": redis}
            expected = {"status": "unavailable", "role": name, "checks": checks}
            assert await role.health() == (503, expected)
            await role.stop()  # in the middle of its retries

    await together(
        verify("api-gateway", {}, "DATABASE_URL is not set", "REDIS_URL is not set"),
        verify("api-gateway", no_postgres, "connection refused", "ok"),
        verify("api-gateway", no_redis, "ok", "connection refused"),
        verify("agent-critic", refusing, "connection refused", "connection refused"),
        verify("agent-critic", unknown, "host name not found", "host name not found"),
    )


class Waiting:
    """A dependency that answers as soon as all others are asked as well."""

    def __init__(self, name: str, others: asyncio.Barrier) -> None:
        self.name = name
        self._others = others

    async def ping(self) -> None:
        await self._others.wait()


async def test_all_dependencies_are_asked_at_once() -> None:
    others = asyncio.Barrier(3)
    report = await Health("x", [Waiting(name, others) for name in "abc"]).report()
    assert report["checks"] == {"a": "ok", "b": "ok", "c": "ok"}


async def test_nobody_is_asked_on_when_the_answer_is_not_waited_for() -> None:
    before = running()
    alone = asyncio.Barrier(2)
    report = asyncio.create_task(Health("x", [Waiting(name, alone) for name in "a"]).report())
    await until(lambda: reached(alone))
    report.cancel()
    await asyncio.wait({report})
    await asyncio.sleep(0)
    assert running() == before


async def reached(barrier: asyncio.Barrier) -> bool:
    return barrier.n_waiting > 0


async def test_a_silent_dependency_is_not_waited_for() -> None:
    """A peer that accepts and never answers, as a frozen machine does."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, nobody answers
        port = silent.getsockname()[1]
        settings = {
            "DATABASE_URL": f"postgresql://u@127.0.0.1:{port}/x",
            "REDIS_URL": f"redis://127.0.0.1:{port}",
        }
        async with Role("api-gateway", **settings) as role:
            status, body = await role.health()
            assert status == 503
            assert body["checks"] == {"postgres": "timed out", "redis": "timed out"}
            await role.stop()


@pytest.mark.parametrize("role_name", ROLES)
async def test_a_role_recovers_each_time_its_dependencies_return(
    backing: Backing, role_name: str
) -> None:
    postgres, redis = Link(backing.database_url, 5432), Link(backing.redis_url, 6379)
    settings = {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url}
    async with Role(role_name, **(backing.settings | settings)) as role:
        assert (await role.health())[0] == 503
        for _ in range(2):
            async with postgres, redis:
                await until(role.is_healthy)
            status, body = await role.health()
            assert status == 503
            assert "ok" not in body["checks"].values()
        await role.stop()
    states = [it["state"] for it in role.events() if it["event"] == "dependency changed"]
    assert "connection refused" in states, "the outage is in the log"


async def test_processes_that_start_together_create_one_schema(backing: Backing) -> None:
    name = f"{backing.prefix}_together"
    await backing.postgres.execute(f"CREATE SCHEMA {name}")
    url = backing.database_url.replace(f"search_path={backing.prefix}", f"search_path={name}")

    async def prepare() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            await schema.prepare(connection)
            return await connection.fetch("SELECT id FROM tasks")
        finally:
            await connection.close()

    assert await together(*(prepare() for _ in range(8))) == [[]] * 8
    await backing.postgres.execute(f"DROP SCHEMA {name} CASCADE")
