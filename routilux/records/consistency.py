"""Whether the parts of an image fit one another, so that whoever resumes from it need not ask. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from routilux.records.schema import Image, KeptState, MessageImage


def find_contradiction(image: Image, kept: Sequence[KeptState] = ()) -> str | None:
    """Tell where two parts of an image, with states that stand for unchanged ones, contradict each other."""
    return next(_find(image, kept), None)


def _find(image: Image, kept: Sequence[KeptState]) -> Iterator[str]:
    ids = [shape.id for shape in image.topology.routines]
    if len({*ids}) != len(ids):
        yield "its flow has two routines of one id"
    if [routine.id for routine in image.routines] != ids:
        yield "its routines are not those of its flow"
    if [routine.id for routine in image.header.routines] != ids:
        yield "the routines of its header are not those of its flow"
    if image.header.flow_id != image.topology.flow_id:
        yield "its header and its flow have different ids"
    edges = len(image.topology.edges)
    job = image.job
    for name, counts in (("sent", job.sent), ("handled", job.handled), ("dead", job.dead), ("skipped", job.skipped)):
        if len(counts) != edges:
            yield f"it counts the messages {name} on {len(counts)} connections, and has {edges}"
    for routine in image.routines:
        yield from _find_unknown_edges(routine.messages(), edges, f"routine {routine.id!r}")
    for output in job.outputs:
        where = f"the output {output.routine_id}.{output.event}"
        yield from _find_unknown_edges([*output.waiting, *output.collected], edges, where)
    owners = [(state.routine_id, state.worker) for state in image.states]
    owners += [(state.routine_id, state.worker) for state in kept]
    yield from _find_wrong_states(owners, {*ids})


def _find_unknown_edges(messages: Iterable[MessageImage], edges: int, where: str) -> Iterator[str]:
    for message in messages:
        if message.edge >= edges:
            yield f"a message of {where} came by connection {message.edge}, and there are {edges}"


def _find_wrong_states(owners: list[tuple[str, int]], ids: set[str]) -> Iterator[str]:
    if len({*owners}) != len(owners):
        yield "a worker has two states"
    for routine_id, _worker in owners:
        if routine_id not in ids:
            yield f"it has a state of routine {routine_id!r}, which its flow has not"
