"""A minimum cut of a directed graph, by maximum flow (Dinic, 1970)."""

from __future__ import annotations

from collections import deque

INFINITE = float("inf")


class Network:
    """Nodes 0, 1, ... with edges of a capacity; `minimum_cut` says which lie on the source's side.
    """

    __slots__ = ("edges", "rest", "target")

    def __init__(self, nodes: int):
        self.edges: list[list[int]] = [[] for _ in range(nodes)]
        self.target: list[int] = []
        self.rest: list[float] = []     # what an edge can still carry; edge ^ 1 is its reverse

    def edge(self, a: int, b: int, capacity: float) -> None:
        """An edge from a to b."""
        for here, there, rest in ((a, b, capacity), (b, a, 0.0)):
            self.edges[here].append(len(self.target))
            self.target.append(there)
            self.rest.append(rest)

    def minimum_cut(self, source: int, sink: int) -> list[bool]:
        """For each node, whether it lies on the source's side of the smallest cut that is nearest
        to the source."""
        while True:
            level = self._levels(source)
            if level[sink] < 0:
                return [n >= 0 for n in level]
            at = [0] * len(self.edges)
            while self._augmented(source, sink, level, at):
                pass

    def _levels(self, source: int) -> list[int]:
        """The fewest edges with room from the source to each node; -1 where there is no way."""
        level = [-1] * len(self.edges)
        level[source] = 0
        waiting = deque([source])
        while waiting:
            a = waiting.popleft()
            for e in self.edges[a]:
                b = self.target[e]
                if self.rest[e] > 0 and level[b] < 0:
                    level[b] = level[a] + 1
                    waiting.append(b)
        return level

    def _augmented(self, source: int, sink: int, level: list[int], at: list[int]) -> bool:
        """Send what one more way through the levels can carry; false where there is none."""
        way: list[int] = []
        a = source
        while a != sink:
            if at[a] < len(self.edges[a]):
                e = self.edges[a][at[a]]
                b = self.target[e]
                if self.rest[e] > 0 and level[b] == level[a] + 1:
                    way.append(e)
                    a = b
                else:
                    at[a] += 1
            elif way:
                a = self.target[way.pop() ^ 1]
                at[a] += 1
            else:
                return False
        most = min(self.rest[e] for e in way)
        assert most < INFINITE, "a way without bounds from source to sink"
        for e in way:
            self.rest[e] -= most
            self.rest[e ^ 1] += most
        return True
