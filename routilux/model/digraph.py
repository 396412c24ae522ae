"""What the connections of a flow say about its routines: cycles, order, ancestors.

Owns these questions about directed graphs, whose nodes are numbers. Pure. Never looks at a flow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def cyclic_components(count: int, edges: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Give the strongly connected components that hold a cycle, each sorted.

    Tarjan's algorithm (SIAM J. Comput. 1(2), 1972), with a stack of its own instead of recursion.

    Args:
        count: nodes are numbered from 0 to `count - 1`.
        edges: pairs of (from, to); an edge from a node to itself is a cycle.
    """
    following: list[list[int]] = [[] for _ in range(count)]
    to_itself: set[int] = set()
    for source, target in edges:
        following[source].append(target)
        if source == target:
            to_itself.add(source)
    return tuple(
        sorted(tuple(sorted(part)) for part in _components(following) if len(part) > 1 or part[0] in to_itself)
    )


def topological_order(count: int, edges: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Give the nodes so that each comes behind those it can be reached from; those of a cycle beside one another.

    Args:
        count: nodes are numbered from 0 to `count - 1`.
        edges: pairs of (from, to).
    """
    following: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        following[source].append(target)
    # Tarjan's algorithm finds a component when all that can be reached from it are found.
    return tuple(node for part in reversed(_components(following)) for node in sorted(part))


def ancestors_of(node: int, edges: Iterable[tuple[int, int]]) -> frozenset[int]:
    """Give the nodes from which `node` can be reached, itself among them."""
    preceding: dict[int, list[int]] = {}
    for source, target in edges:
        preceding.setdefault(target, []).append(source)
    found, waiting = {node}, [node]
    while waiting:
        for source in preceding.get(waiting.pop(), ()):
            if source not in found:
                found.add(source)
                waiting.append(source)
    return frozenset(found)


def _components(following: Sequence[Sequence[int]]) -> list[list[int]]:
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    on_path: set[int] = set()
    path: list[int] = []
    found: list[list[int]] = []
    for root in range(len(following)):
        if root in order:
            continue
        work = [(root, iter(following[root]))]
        order[root] = low[root] = len(order)
        path.append(root)
        on_path.add(root)
        while work:
            node, rest = work[-1]
            for target in rest:
                if target not in order:
                    order[target] = low[target] = len(order)
                    path.append(target)
                    on_path.add(target)
                    work.append((target, iter(following[target])))
                    break
                if target in on_path:
                    low[node] = min(low[node], order[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    at = _last_index(path, node)
                    part = path[at:]
                    del path[at:]
                    on_path.difference_update(part)
                    found.append(part)
    return found


def _last_index(path: list[int], node: int) -> int:
    at = len(path) - 1
    while path[at] != node:
        at -= 1
    return at
