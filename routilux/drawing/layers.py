"""Which layer each node of a drawing is in, and what its edges become between the layers. Pure.

Owns the first two steps of a layered layout (Sugiyama, Tagawa, Toda, IEEE Trans. SMC 11(2), 1981): cycles are broken by
drawing some edges backwards, and nodes are put into layers so that every edge leads from left to right. Knows nothing
of sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

PASSES = 8
"""How often nodes are moved to where their edges are shorter (arbitrary: most often the second changes nothing)."""
WORK = 48_000
"""Items that a step of a layout goes through in all its passes (arbitrary: a quarter of a second)."""


class Ends(NamedTuple):
    """The ends of an edge, as it is laid out.

    Args:
        left: the node on the left.
        right: the node on the right.
        is_backwards: whether the edge leads from right to left.
    """

    left: int
    right: int
    is_backwards: bool


def break_cycles(count: int, edges: Sequence[tuple[int, int]]) -> list[Ends]:
    """Give edges the direction in which they are laid out, so that there is no cycle.

    What is walked from the nodes that nothing leads to, in the order that is given, and leads back to where the walk
    came from, goes backwards: in a flow these are the connections by which something comes once more.

    Args:
        count: nodes are numbered from 0 to `count - 1`.
        edges: pairs of (from, to), of two different nodes each.
    """
    following: list[list[int]] = [[] for _ in range(count)]
    is_fed = [False] * count
    for number, (source, target) in enumerate(edges):
        following[source].append(number)
        is_fed[target] = True
    backwards: set[int] = set()
    for number, is_back in _walk(edges, following, sorted(range(count), key=is_fed.__getitem__)):
        if is_back:
            backwards.add(number)
    return [
        Ends(target, source, is_backwards=True) if number in backwards else Ends(source, target, is_backwards=False)
        for number, (source, target) in enumerate(edges)
    ]


def find_layers(count: int, ends: Sequence[Ends]) -> list[int]:
    """Give the number of each node's layer, from 0: each edge leads to a layer further right, and most not far.

    Args:
        count: nodes are numbered from 0 to `count - 1`.
        ends: edges without a cycle.
    """
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for left, right, _ in ends:
        before[right].append(left)
        after[left].append(right)
    order = _sort(before, after)
    layers = [0] * count
    for node in order:
        layers[node] = max((layers[left] + 1 for left in before[node]), default=0)
    for _pass in range(PASSES):
        moves = [_move(node, layers, before, after) for node in reversed(order)]
        if not any(moves):
            break
    least = min(layers, default=0)
    return [layer - least for layer in layers]


def decide_passes(most: int, count: int) -> int:
    """Give how often a step goes through all items: once at least, and less often in drawings that nobody sees through.

    Args:
        most: how often in a small drawing.
        count: how many items there are.
    """
    return max(1, min(most, WORK // max(1, count)))


def find_parts(count: int, edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Give the connected parts of a graph, each with its nodes in order, by their first nodes."""
    beside: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        beside[source].append(target)
        beside[target].append(source)
    seen = [False] * count
    parts = []
    for first in range(count):
        if seen[first]:
            continue
        part, seen[first] = [first], True
        for node in part:
            for other in beside[node]:
                if not seen[other]:
                    seen[other] = True
                    part.append(other)
        parts.append(sorted(part))
    return parts


def _walk(
    edges: Sequence[tuple[int, int]], following: Sequence[Sequence[int]], roots: Sequence[int]
) -> Iterator[tuple[int, bool]]:
    """Walk a graph depth first; give each edge, and whether it leads back to where the walk came from."""
    seen: set[int] = set()
    on_path: set[int] = set()
    for root in roots:
        if root in seen:
            continue
        seen.add(root)
        on_path.add(root)
        work = [(root, iter(following[root]))]
        while work:
            node, rest = work[-1]
            for number in rest:
                target = edges[number][1]
                yield number, target in on_path
                if target not in seen:
                    seen.add(target)
                    on_path.add(target)
                    work.append((target, iter(following[target])))
                    break
            else:
                on_path.discard(node)
                work.pop()


def _sort(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> list[int]:
    """Give the nodes so that each comes behind those that lead to it (Kahn's algorithm, CACM 5(11), 1962)."""
    missing = list(map(len, before))
    order = [node for node, count in enumerate(missing) if not count]
    for node in order:
        for right in after[node]:
            missing[right] -= 1
            if not missing[right]:
                order.append(right)
    return order


def _move(node: int, layers: list[int], before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> bool:
    """Move a node to the right where that makes its edges shorter in sum; tell whether it was moved."""
    if not after[node] or len(before[node]) >= len(after[node]):
        return False
    wanted = min(layers[right] for right in after[node]) - 1
    is_better = wanted > layers[node]
    if is_better:
        layers[node] = wanted
    return is_better
