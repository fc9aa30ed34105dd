"""Runs the tasks of one agent.

The stream says that there may be work, the table says whose it is: an entry is only a hint to try
and claim a row. So a duplicate entry does nothing, a malformed one is dropped, and a lost one
costs time only, because `Store.claim_overdue` finds the row without it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from infinite_scribe.cancellation import end, uninterrupted
from infinite_scribe.dependencies import UnavailableError, backoff
from infinite_scribe.model import ModelError

if TYPE_CHECKING:
    from infinite_scribe.agents import Agent
    from infinite_scribe.model import ChatModel
    from infinite_scribe.store import Assignment, Store
    from infinite_scribe.streams import Entry, TaskQueue

# Less than a dependency's call time-out, as the read blocks on the same connection.
_WAIT: Final = 2.0
_HAND_BACK_TIMEOUT: Final = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a silent runner keeps a task, and how many runners a task may outlive."""

    lease: float
    attempts: int


class Runner:
    """One consumer of an agent's stream, working on one task at a time."""

    def __init__(
        self, agent: Agent, store: Store, queue: TaskQueue, model: ChatModel, limits: Limits
    ) -> None:
        self._agent = agent
        self._store = store
        self._queue = queue
        self._model = model
        self._limits = limits
        self._consumer = f"{socket.gethostname()}-{os.getpid()}"
        self._next_sweep = 0.0

    async def run(self) -> None:
        """Work until cancelled, whatever happens."""
        delays = backoff()
        while True:
            try:
                await self._store.ping()
                await self._queue.join()
                for entry in await self._queue.unsettled(self._consumer):
                    await self._handle(entry)
                while True:
                    await self._turn()
                    delays = backoff()
            except UnavailableError as error:
                log.debug("waiting for a dependency", reason=str(error))
            except Exception:
                log.exception("unexpected error, going on")
            await asyncio.sleep(next(delays))

    async def _turn(self) -> None:
        clock = asyncio.get_running_loop().time
        if clock() >= self._next_sweep:
            await self._sweep()
            self._next_sweep = clock() + self._limits.lease / 2
        for entry in await self._queue.take(self._consumer, min(_WAIT, self._limits.lease / 2)):
            await self._handle(entry)

    async def _sweep(self) -> None:
        """Take over what other runners left behind and what was never announced."""
        for entry in await self._queue.stale(self._consumer, self._limits.lease):
            await self._handle(entry)
        while task := await self._store.claim_overdue(self._agent.name, self._limits.lease):
            await self._work(task, None)

    async def _handle(self, entry: Entry) -> None:
        if entry.task_id is None:
            log.warning("malformed stream entry dropped", entry=entry.id.decode())
        elif task := await self._store.claim(self._agent.name, entry.task_id, self._limits.lease):
            await self._work(task, entry)
        await self._queue.settle(entry)

    async def _work(self, task: Assignment, entry: Entry | None) -> None:
        with structlog.contextvars.bound_contextvars(task=str(task.id)):
            log.info("task started", attempt=task.attempts)
            jobs = {
                asyncio.create_task(self._complete(task)),
                asyncio.create_task(self._keep_lease(task)),
            }
            try:
                done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                await uninterrupted(self._hand_back(task, entry, jobs))
                raise
            await end(jobs)
            for job in done:
                job.result()

    async def _complete(self, task: Assignment) -> None:
        result = error = None
        try:
            result = await self._ask(task)
        except ModelError as failure:
            error = str(failure)
        except Exception as failure:  # a defect of ours must not leave the task running for ever
            log.exception("task failed unexpectedly")
            error = f"internal error: {type(failure).__name__}"
        delays = backoff()
        while True:
            try:
                stored = await self._store.finish(task, result=result, error=error)
                break
            except UnavailableError:  # A completion is too dear to lose to a short outage.
                await asyncio.sleep(next(delays))
        log.info("task finished", error=error, stored=stored)

    async def _ask(self, task: Assignment) -> str:
        if task.attempts > self._limits.attempts:
            raise ModelError(f"given up: {self._limits.attempts} runners died on this task")
        return await self._model.complete(
            self._agent.prompt,
            f"Novel: {task.title}\n\nPremise: {task.premise or '(none yet)'}"
            f"\n\nTask: {task.instruction}",
            self._agent.temperature,
        )

    async def _keep_lease(self, task: Assignment) -> None:
        """Return when the lease is lost: the task was deleted, or another runner has it."""
        while True:
            await asyncio.sleep(self._limits.lease / 3)
            try:
                if not await self._store.renew(task, self._limits.lease):
                    log.warning("task lost, dropping it")
                    return
            except UnavailableError as error:
                log.debug("lease not renewed", reason=str(error))

    async def _hand_back(
        self, task: Assignment, entry: Entry | None, jobs: set[asyncio.Task[None]]
    ) -> None:
        """On a stop, let another runner begin at once rather than when the lease expires."""
        try:
            async with asyncio.timeout(_HAND_BACK_TIMEOUT):
                await end(jobs)
                if await self._store.release(task):
                    await self._queue.settle(entry, announce=task.id)
                    log.info("task handed back")
        except (TimeoutError, UnavailableError) as error:
            log.warning("task left to expire", reason=str(error) or "timed out")
