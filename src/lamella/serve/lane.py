"""One model's way through the server: admission, a batch at a time, answers to each."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .batcher import Batcher, Ticket, joined, split
from .registry import RequestError, Served


class Lane:
    """Runs batches of one model, one after another, on a thread of its own."""

    def __init__(self, served: Served, *, window: float, most_waiting: int, timeout: float):
        self.served, self.timeout = served, timeout
        self.batcher = Batcher(served.bound, window if served.symbol else 0.0,
                               max(most_waiting, served.bound))
        self.thread = ThreadPoolExecutor(1, f"lamella-{served.name}")
        self.wake = asyncio.Event()
        self.batches = self.requests = 0
        self.task = asyncio.create_task(self._run())

    async def infer(self, arrays: list[np.ndarray], timeout: float | None = None):
        """The outputs; a RequestError if there is no room, or no answer in time."""
        loop = asyncio.get_running_loop()
        now, limit = loop.time(), min(timeout or self.timeout, self.timeout)
        answer = loop.create_future()
        ticket = Ticket(arrays, self.served.key(arrays), self.served.rows(arrays), now, now + limit,
                        answer)
        if not self.batcher.offer(ticket):
            waiting = self.batcher.waiting
            raise RequestError(503, "the server is shutting down" if self.batcher.closed else
                               f"the queue is full: {waiting} rows wait; try again later")
        self.wake.set()
        try:
            async with asyncio.timeout(limit):
                return await answer
        except TimeoutError:
            raise RequestError(504, f"no answer within {limit:g} seconds") from None
        finally:
            self.batcher.cancel(ticket)

    async def close(self) -> None:
        """Admit no more, answer those that wait, stop."""
        self.batcher.close()
        self.wake.set()
        await self.task
        self.thread.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.batcher.expire(loop.time())
            batch = self.batcher.take(loop.time())
            if batch:
                await self._execute(batch)
                continue
            when = self.batcher.due()
            if when is None and self.batcher.closed:
                return
            self.wake.clear()
            try:
                async with asyncio.timeout_at(when):
                    await self.wake.wait()
            except TimeoutError:
                pass

    async def _execute(self, batch: list[Ticket]) -> None:
        """Run the batch; a fault in it is told to its own requests only."""
        loop = asyncio.get_running_loop()
        self.batches += 1
        self.requests += len(batch)
        try:
            outputs = await loop.run_in_executor(self.thread, _infer, self.served, batch)
            for ticket, answer in zip(batch, outputs, strict=True):
                if not ticket.owner.done():
                    ticket.owner.set_result(answer)
        except Exception as e:
            for ticket in batch:
                if not ticket.owner.done():
                    ticket.owner.set_exception(e)


def _infer(served: Served, batch: list[Ticket]) -> list[list[np.ndarray]]:
    return split(served.infer(joined(batch)), batch)
