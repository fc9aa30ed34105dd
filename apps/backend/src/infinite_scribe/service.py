"""The life of a process: start, serve, stop in time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from typing import TYPE_CHECKING, Any, Final, NoReturn

import structlog
import uvicorn
import uvloop

from infinite_scribe import logs
from infinite_scribe.agents import ROLES
from infinite_scribe.cancellation import end
from infinite_scribe.dependencies import Postgres, Redis, monitor
from infinite_scribe.health import Health
from infinite_scribe.settings import reveal
from infinite_scribe.store import Store
from infinite_scribe.streams import TaskQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infinite_scribe.agents import Agent
    from infinite_scribe.runner import Runner
    from infinite_scribe.settings import Settings

# Below the two seconds within which a role promises to be gone.
_STOP_TIMEOUT: Final = 1.5

ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - a container is reached from outside

log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """uvicorn, except that the service decides what a signal means.

    uvicorn's own handlers raise the signal again once it is done, and the process would end by it
    instead of with status 0.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def run(role: str, settings: Settings) -> NoReturn:
    """Serve until a signal, then end the process."""
    logs.configure(role, settings.log_level, settings.log_format)
    try:
        status = asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_serve(role, settings))
    except Exception:
        log.exception("stopped by an error")
        status = 1
    # An ordinary exit would join the threads that resolve host names, and a name server that does
    # not answer would keep us far beyond the time to stop. Everything of ours is closed by now.
    logging.shutdown()
    os._exit(status)


async def _serve(role: str, settings: Settings) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        listener = socket.create_server((ANY_ADDRESS, settings.port), backlog=2048)
    except OSError as error:
        log.critical("cannot listen", port=settings.port, reason=error.strerror)
        return 1

    async with (
        Postgres(reveal(settings.database_url)) as postgres,
        Redis(reveal(settings.redis_url)) as redis,
    ):
        jobs = [monitor(postgres), monitor(redis)]
        health = Health(role, (postgres, redis))
        if agent := ROLES[role]:
            app: Any = health
            jobs.append(_runner(agent, Store(postgres), redis, settings).run())
        else:
            from infinite_scribe.gateway import create_app  # noqa: PLC0415

            app = create_app(Store(postgres), redis, settings.task_stream_prefix, health)
        server = Server(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        log.info("listening", port=settings.port)
        serving = asyncio.create_task(server.serve([listener]))
        working = [asyncio.create_task(job) for job in jobs]
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait(
            {serving, stopping, *working}, return_when=asyncio.FIRST_COMPLETED
        )
        server.should_exit = True
        ending = asyncio.create_task(end(working))
        await asyncio.wait({serving, ending}, timeout=_STOP_TIMEOUT)
        for ended in done:
            ended.result()  # None of them ends by itself: what else ended here ended by an error.
    log.info("stopped")
    return 0 if stop.is_set() else 1


def _runner(agent: Agent, store: Store, redis: Redis, settings: Settings) -> Runner:
    from infinite_scribe.model import ChatModel  # noqa: PLC0415
    from infinite_scribe.runner import Limits, Runner  # noqa: PLC0415

    return Runner(
        agent,
        store,
        TaskQueue(redis, settings.task_stream_prefix, agent.name),
        ChatModel(settings),
        Limits(settings.task_lease_seconds, settings.task_max_attempts),
    )
