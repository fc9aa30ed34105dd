"""Ending asyncio tasks for certain.

On Python 3.11 a cancellation that coincides with a result or a time-out can get lost inside a
driver (`asyncio.wait_for` and `asyncio.timeout` both allow it), and the task just goes on. So
here a task is cancelled until it ends, and clean-up that must run is kept out of the way of that.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable
from typing import Any


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until all of them have ended."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.2)


async def uninterrupted(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run to the end, however often the caller is cancelled meanwhile."""
    task = asyncio.create_task(coroutine)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    task.result()
