"""Which waiting requests run together, and when: a state machine without clock, thread or socket.

Requests of one `key` (the same input types but for the number of rows) are joined along the batch
axis, up to `bound` rows. A batch is due when it is full, or when its oldest request has waited for
`window` seconds. Order is kept: nobody overtakes a request of the same key, and the oldest request
of all decides which key is next.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np


class Ticket:
    """One request in the queue."""

    __slots__ = ("arrays", "arrived", "deadline", "key", "owner", "rows")

    def __init__(self, arrays: list[np.ndarray], key: Hashable, rows: int, arrived: float,
                 deadline: float, owner: Any = None):
        self.arrays, self.key, self.rows = arrays, key, rows
        self.arrived, self.deadline, self.owner = arrived, deadline, owner


class Batcher:
    """The queue of one model. `waiting` rows never exceed `most_waiting`."""

    def __init__(self, bound: int, window: float, most_waiting: int):
        self.bound, self.window, self.most_waiting = bound, window, most_waiting
        self.queue: list[Ticket] = []
        self.waiting = 0
        self.closed = False

    def offer(self, ticket: Ticket) -> bool:
        """Admit the request, or say that there is no room."""
        if self.closed or ticket.rows > self.bound or (
                self.waiting + ticket.rows > self.most_waiting):
            return False
        self.queue.append(ticket)
        self.waiting += ticket.rows
        return True

    def cancel(self, ticket: Ticket) -> bool:
        """Take the request out if it still waits."""
        if ticket not in self.queue:
            return False
        self.queue.remove(ticket)
        self.waiting -= ticket.rows
        return True

    def expire(self, now: float) -> list[Ticket]:
        """Take out and return the requests whose deadline has passed."""
        late = [t for t in self.queue if t.deadline <= now]
        for t in late:
            self.cancel(t)
        return late

    def due(self) -> float | None:
        """When the next batch is to run: minus infinity for at once, None while nobody waits."""
        if not self.queue:
            return None
        batch = self._next()
        if self.closed or sum(t.rows for t in batch) >= self.bound or self._blocked(batch):
            return float("-inf")
        return self.queue[0].arrived + self.window

    def take(self, now: float) -> list[Ticket]:
        """The next batch if it is due, else nothing."""
        when = self.due()
        if when is None or when > now:
            return []
        batch = self._next()
        chosen = set(map(id, batch))
        self.queue = [t for t in self.queue if id(t) not in chosen]
        self.waiting -= sum(t.rows for t in batch)
        return batch

    def close(self) -> None:
        """Admit no more; what waits is due at once."""
        self.closed = True

    def _next(self) -> list[Ticket]:
        """The oldest request and those that join it, in order."""
        batch, rows = [], 0
        for t in self.queue:
            if t.key != self.queue[0].key:
                continue
            if rows + t.rows > self.bound:
                break
            batch.append(t)
            rows += t.rows
        return batch

    def _blocked(self, batch: list[Ticket]) -> bool:
        """Whether a request of the same key waits that no longer fits: waiting gains nothing."""
        return sum(t.key == self.queue[0].key for t in self.queue) > len(batch)


def joined(tickets: Sequence[Ticket]) -> list[np.ndarray]:
    """The inputs of all tickets, one after another along the batch axis."""
    if len(tickets) == 1:
        return tickets[0].arrays
    return [np.concatenate(parts) for parts in zip(*(t.arrays for t in tickets), strict=True)]


def split(outputs: Sequence[np.ndarray], tickets: Sequence[Ticket]) -> list[list[np.ndarray]]:
    """Each ticket's rows of the outputs."""
    if len(tickets) == 1:
        return [list(outputs)]
    parts, at = [], 0
    for t in tickets:
        parts.append([o[at:at + t.rows] for o in outputs])
        at += t.rows
    return parts
