"""The command line, the settings, signals and the log, as whoever operates the roles sees them."""

from __future__ import annotations

import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from infinite_scribe import settings
from infinite_scribe.agents import ROLES
from tests.support import API_KEY, Role, until

if TYPE_CHECKING:
    from tests.conftest import Backing


async def finished(*arguments: str, **environment: str) -> tuple[int, Role]:
    role = Role(*arguments, **environment)
    await role.start()
    try:
        return await role.wait(), role
    finally:
        await role.kill()


@pytest.mark.parametrize("arguments", [(), ("agent-ghost",), ("writer",), ("api-gateway", "x")])
async def test_anything_but_a_role_is_refused_with_the_list(arguments: tuple[str, ...]) -> None:
    begun = time.monotonic()
    status, role = await finished(*arguments)
    assert status == 2
    assert time.monotonic() - begun < 1.5, "nothing heavy is imported for this"
    assert len(ROLES) == 11
    assert all(name in role.errors for name in ROLES)
    assert role.output == ""
    assert "Traceback" not in role.errors


@pytest.mark.parametrize("option", ["-h", "--help"])
async def test_help(option: str) -> None:
    status, role = await finished(option)
    assert (status, role.errors) == (0, "")
    assert all(name in role.output for name in ROLES)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("PORT", "http", "valid integer"),
        ("PORT", "70000", "less than or equal to 65535"),
        ("DATABASE_URL", "mysql://user:hunter2@host/x", "postgresql://"),
        ("DATABASE_URL", "postgresql://user:hunter2@host:port/x", "postgresql://"),
        ("REDIS_URL", "host:6379", "redis://"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("LOG_FORMAT", "xml", "'json' or 'console'"),
        ("LLM_BASE_URL", "host/v1", "http://"),
        ("LLM_API_KEY", "hunter2 hunter2", "without spaces"),
        ("LLM_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("TASK_LEASE_SECONDS", "soon", "valid number"),
    ],
)
def test_a_bad_setting_is_named_with_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(settings.InvalidSettingsError) as caught:
        settings.load()
    assert str(caught.value).startswith(f"{variable}: ")
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_bad_settings_are_one_clear_line() -> None:
    status, role = await finished("api-gateway", PORT="x", LOG_LEVEL="y", REDIS_URL="")
    assert (status, role.output) == (2, "")
    announced, complaint = role.errors.splitlines()
    assert announced == "infinite-scribe: starting api-gateway"
    assert complaint.startswith("infinite-scribe: invalid setting PORT: ")
    assert "; LOG_LEVEL: " in complaint
    assert "REDIS_URL" not in complaint, "an empty variable is an absent one"


async def test_a_taken_port_is_said_and_not_survived() -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104 - as the service does
        port = taken.getsockname()[1]
        status, role = await finished("agent-writer", PORT=str(port))
    assert status == 1
    event = role.events()[-1]
    assert (event["event"], event["port"]) == ("cannot listen", port)


@pytest.mark.parametrize(
    ("role_name", "number"),
    [
        ("api-gateway", signal.SIGTERM),
        ("api-gateway", signal.SIGINT),
        ("agent-writer", signal.SIGTERM),
    ],
)
async def test_a_signal_stops_a_role_that_is_idle(
    backing: Backing, role_name: str, number: signal.Signals
) -> None:
    async with Role(role_name, **backing.settings) as role:
        assert await role.is_healthy()  # leaves a connection open, as a probe may
        await role.stop(number)
    assert role.events()[-1]["event"] == "stopped"


async def test_a_signal_during_the_start_is_obeyed() -> None:
    role = Role("api-gateway")

    async def announced() -> bool:
        return "starting" in role.errors

    await role.start()
    try:
        await until(announced)
        await role.stop()
    finally:
        await role.kill()
    assert "listening" not in role.output, "the signal came too late to test anything"


async def test_the_log_is_json_without_probes_and_secrets(backing: Backing) -> None:
    environment = backing.settings | {"LLM_API_KEY": API_KEY, "LOG_LEVEL": "debug"}
    async with Role("api-gateway", **environment) as role:
        await role.health()
        await role.http.get("/api/v1/agents")
        await role.stop()
    events = role.events()
    assert {event["role"] for event in events} == {"api-gateway"}
    assert all({"event", "level", "timestamp", "logger"} <= event.keys() for event in events)
    access = [event["event"] for event in events if event["logger"] == "uvicorn.access"]
    assert len(access) == 1
    assert "/api/v1/agents" in access[0]
    assert API_KEY not in role.output + role.errors
    assert role.errors == "infinite-scribe: starting api-gateway\n"


async def test_the_log_for_people() -> None:
    async with Role("agent-writer", LOG_FORMAT="console") as role:
        await role.stop()
    assert "listening" in role.output
    assert not role.output.startswith("{")
