"""Shared fixtures: an own schema and key prefix on the servers that the environment names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
import redis.asyncio

from tests.support import API_KEY, ModelEndpoint, Role, running, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TERMINAL = {"succeeded", "failed"}


@pytest.fixture(autouse=True)
async def nothing_runs_on_in_the_next_test() -> AsyncIterator[None]:
    """Whatever a test started has ended with it, also when it failed."""
    before = running()
    yield
    left = running() - before
    assert not left, "; ".join(map(repr, left))


def _required(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        pytest.fail(f"{variable} must name the server to test against", pytrace=False)
    return value


@dataclass(frozen=True)
class Backing:
    """Both servers, by way of names that nobody else uses."""

    database_url: str
    redis_url: str
    prefix: str
    postgres: asyncpg.Pool[asyncpg.Record]
    redis: redis.asyncio.Redis

    @property
    def settings(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "TASK_STREAM_PREFIX": self.prefix,
        }

    def stream(self, agent: str) -> str:
        return f"{self.prefix}:{agent}"


@pytest.fixture(scope="session")
async def backing() -> AsyncIterator[Backing]:
    database_url, redis_url = _required("DATABASE_URL"), _required("REDIS_URL")
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(database_url)
    await admin.execute(f"CREATE SCHEMA {name}")
    joint = "&" if urlsplit(database_url).query else "?"
    own_url = f"{database_url}{joint}search_path={name}"
    client = redis.asyncio.Redis.from_url(redis_url)
    async with asyncpg.create_pool(own_url, min_size=0) as pool:
        yield Backing(own_url, redis_url, name, pool, client)
    await admin.execute(f"DROP SCHEMA {name} CASCADE")
    await admin.close()
    async for key in client.scan_iter(f"{name}*"):
        await client.delete(key)
    await client.aclose()


@pytest.fixture(scope="session")
async def gateway(backing: Backing) -> AsyncIterator[Role]:
    async with Role("api-gateway", **backing.settings) as role:
        yield role


@pytest.fixture(scope="session")
def model() -> Iterator[ModelEndpoint]:
    with ModelEndpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def agent_settings(backing: Backing, model: ModelEndpoint) -> dict[str, str]:
    """Everything short, so that what waits for time does not wait for long."""
    return {
        **backing.settings,
        "LLM_BASE_URL": model.url,
        "LLM_API_KEY": API_KEY,
        "LLM_MODEL": "test-model",
        "LLM_TIMEOUT_SECONDS": "1",
        "LLM_MAX_RETRIES": "1",
        "TASK_LEASE_SECONDS": "1",
    }


@dataclass(frozen=True)
class Desk:
    """A client that gives tasks to agents, for a novel of its own."""

    gateway: Role
    novel: dict[str, Any]

    async def order(self, agent: str, instruction: str) -> str:
        response = await self.gateway.http.post(
            f"/api/v1/novels/{self.novel['id']}/tasks",
            json={"agent": agent, "instruction": instruction},
        )
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    async def task(self, task_id: str) -> dict[str, Any]:
        response = await self.gateway.http.get(f"/api/v1/tasks/{task_id}")
        assert response.status_code == 200, response.text
        task: dict[str, Any] = response.json()
        return task

    async def reaches(self, task_id: str, *status: str) -> dict[str, Any]:
        async def reached() -> bool:
            return (await self.task(task_id))["status"] in status

        await until(reached)
        return await self.task(task_id)

    async def outcome(self, task_id: str) -> dict[str, Any]:
        return await self.reaches(task_id, *TERMINAL)


@pytest.fixture
async def desk(gateway: Role) -> Desk:
    draft = {"title": "The Lighthouse", "premise": "A keeper who cannot sleep."}
    response = await gateway.http.post("/api/v1/novels", json=draft)
    assert response.status_code == 201, response.text
    return Desk(gateway, response.json())
