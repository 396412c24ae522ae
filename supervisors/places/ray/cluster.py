"""Ray: the only door to it.

Owns this program's part in a cluster (joined, or begun here for as long as it is needed), the actors of Ray that agents
are, and Ray's words for their ends, and for those of nodes. Never decides what a loss leads to: actors of Ray that die
are not started again by Ray, and no call is made twice, since a second hidden policy would run what was committed once
more, and begin with another state.

A cluster that is begun here ends with the *thread* that has begun it, as any process that asks the kernel to be killed
with its parent; so one thread begins it, waits for as long as it is needed, and ends it.

Which cluster it is follows Ray's own rules: one that the program has joined (`ray.init`); else that of `RAY_ADDRESS`;
else one on this machine alone, begun here, and ended when nobody needs it any more.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from supervisors.errors import StartError
from supervisors.places.ray.agent import Agent
from supervisors.places.ray.engine import AgentLostError, Demand, Group, Hello, Parcel, Reference, Terms
from supervisors.places.ray.watching import NodeWatch
from supervisors.wire.memory import lend

_VERBS = {
    "tell": ("serve", "take_piece"),
    "put": ("take_object",),
    "deliver": ("deliver",),
    "look": ("say_hello", "tell_stack"),
}
"""Calls of an agent that go on at once, each group by a thread of its own, in their order."""
_ANSWER_SECONDS = 10.0
"""What the head of a cluster gets to answer (arbitrary)."""
_LEFT = "this program has left its cluster (ray.shutdown)"
"""Asked for before each call: Ray would join whichever other cluster it finds on this machine, or begin one."""
_DETAIL_CHARACTERS = 1_000
"""Of what Ray says (arbitrary)."""
_OPENINGS = ("The actor died unexpectedly before finishing this task.",)
"""Lines of Ray's that say nothing where others follow."""
_WORDLESS = re.compile(
    r"\t(class_name|actor_id|pid|name|namespace|ip): |  |During handling of the above|The above exception was the"
)
"""Lines of Ray's that say what is known here better, or where in Ray it happened."""
_TRACEBACK = "Traceback (most recent call last):"
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_RAW, _PICKLED = b"RAW", b"PYTHON"
"""What Ray calls bytes, and what was pickled, with its buffers beside it."""
_NODE_LOST = "nothing more is known"
"""Where Ray does not say why."""


class RayCluster:
    """This program's part in a cluster of Ray (`Engine`)."""

    def __init__(self) -> None:
        # Guards all below, and Ray's own begin and end.
        self._lock = threading.Lock()
        self._users = 0
        self._keeper: _Keeper | None = None
        self._watch = NodeWatch(lambda: _find_lost(_import_ray()))

    def enter(self) -> None:
        """Join the cluster, or begin one, unless that is done."""
        ray = _import_ray()
        with self._lock:
            if self._users == 0 and not ray.is_initialized():
                self._keeper = _Keeper(ray)
            self._users += 1

    def leave(self) -> None:
        """Leave it with the last who needs it, if it was joined by `enter`; one that was begun here ends."""
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            self._watch.forget()
            if self._keeper is not None:
                self._keeper.close()
                self._keeper = None

    def start_agent(self, name: str, namespace: str, demand: Demand) -> RayAgent:
        """Have Ray make an actor."""
        ray = _import_ray()
        if not ray.is_initialized():
            raise StartError(_LEFT)
        options = {
            "num_cpus": demand.num_cpus,
            "num_gpus": demand.num_gpus,
            "memory": demand.memory,
            "resources": dict(demand.resources) or None,
            "label_selector": dict(demand.label_selector) or None,
            "runtime_env": None if demand.runtime_env is None else dict(demand.runtime_env),
            "scheduling_strategy": demand.scheduling_strategy,
        }
        given = {key: value for key, value in options.items() if value is not None}
        try:
            actor = (
                ray.remote(concurrency_groups=dict.fromkeys(_VERBS, 1))(_Agent)
                .options(name=name, namespace=namespace, max_restarts=0, max_task_retries=0, **given)
                .remote()
            )
        except Exception as error:
            raise StartError(f"Ray refused to start {name!r}: {error}") from error
        return RayAgent(ray, actor)

    def put(self, buffers: Sequence[memoryview]) -> Reference:
        """Put buffers into Ray's store."""
        ray = _import_ray()
        if not ray.is_initialized():
            raise OSError(_LEFT)
        try:
            return ray.put([lend(buffer) for buffer in buffers])
        except ray.exceptions.RayError as error:
            raise OSError(f"Ray's store did not take {len(buffers)} buffers: {error}") from error

    def pack(self, reference: Reference) -> bytes:
        """Give what Ray writes of a reference that goes along in a call, without the call."""
        _reference, owner, status = _core_of(_import_ray()).serialize_object_ref(reference)
        return msgspec.msgpack.encode((reference.binary(), owner, status))

    def fetch(self, reference: Reference) -> Sequence[memoryview]:
        """Give the buffers of an object of Ray's."""
        return _fetch(_import_ray(), reference)

    def watch_node(self, node_id: str, settle: Callable[[str], None]) -> None:
        """Ask Ray again and again."""
        self._watch.add(node_id, settle)

    def describe_lack(self, demand: Demand) -> str:
        """Say what Ray has, and has free, of what is needed."""
        ray = _import_ray()
        needed = {"CPU": demand.num_cpus, "GPU": demand.num_gpus, "memory": demand.memory or 0, **demand.resources}
        needed = {name: amount for name, amount in needed.items() if amount}
        nodes = [node for node in ray.nodes() if node["Alive"]]
        free = ray.available_resources()
        told = [f"{name} {_amount(name, amount)}" for name, amount in needed.items()]
        told += [f"a node with {key}={value}" for key, value in demand.label_selector.items()]
        has = [_describe_stock(name, amount, nodes, free) for name, amount in needed.items()]
        has += [_describe_labels(key, nodes) for key in demand.label_selector]
        lack = f"needs {', '.join(told) or 'nothing'}; the cluster has {', '.join(has) or f'{len(nodes)} nodes'}"
        return lack if demand.runtime_env is None else f"{lack}, and may still be setting its runtime_env up"


class _Keeper:
    """The thread that has joined or begun a cluster.

    Args:
        ray: the library.

    Raises:
        StartError: there is no cluster.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._has_begun = threading.Event()
        self._is_unneeded = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._keep, name="supervisors-ray", daemon=True)
        self._thread.start()
        self._has_begun.wait()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Leave it, or end it, and wait for that."""
        self._is_unneeded.set()
        self._thread.join()

    def _keep(self) -> None:
        address = os.environ.get("RAY_ADDRESS") or "local"
        options = {"include_dashboard": False} if address == "local" else {}
        # What Ray thinks of each worker that ends it prints to stdout, where a program has its data, whatever
        # `log_to_driver` says. Our losses are told with their reasons.
        printing = self._ray._private.worker  # noqa: SLF001
        printing._worker_logs_enabled = False  # noqa: SLF001
        try:
            _knock(address)
            self._ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except Exception as error:  # noqa: BLE001  it is raised where it was asked for
            printing._worker_logs_enabled = True  # noqa: SLF001
            where = "begin a cluster on this machine" if address == "local" else f"join the cluster at {address!r}"
            self._failure = StartError(f"Ray could not {where}: {error}")
            self._failure.__cause__ = error
            return
        finally:
            self._has_begun.set()
        self._is_unneeded.wait()
        self._ray.shutdown()
        printing._worker_logs_enabled = True  # noqa: SLF001


class RayAgent:
    """An actor of Ray that is an agent (`RemoteAgent`).

    Args:
        ray: the library.
        actor: the actor's handle.
    """

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray = ray
        self._actor = actor
        self._calls = {
            verb: getattr(actor, verb).options(
                concurrency_group=group,
                num_returns=2 if verb == "take_object" else 1,
                enable_task_events=False,  # nobody but this module asks what becomes of them
            )
            for group, verbs in _VERBS.items()
            for verb in verbs
        }
        self._node_id = ""

    def say_hello(self, timeout: float) -> Hello:
        """Wait until Ray has it started."""
        try:
            hello = Hello(*self._ray.get(self._call("say_hello"), timeout=timeout))
        except self._ray.exceptions.GetTimeoutError as error:
            raise TimeoutError from error
        except self._ray.exceptions.RayError as error:
            raise _to_loss(self._ray, error, self._node_id) from error
        self._node_id = hello.node_id
        return hello

    def serve(self, terms: Terms) -> None:
        """Call it, and wait for its answer."""
        self._get(self._call("serve", terms))

    def ask_piece(self) -> Reference:
        """Call it: the answer is the piece."""
        return self._call("take_piece")

    def ask_object(self) -> Parcel:
        """Call it: the answers are the caller's, as all results are; an actor's end takes none of them along."""
        return Parcel(*self._call("take_object"))

    def receive(self, parcel: Parcel) -> int:
        """Wait for Ray's answer: it comes when all of it is in the store."""
        if not self._ray.is_initialized():
            raise AgentLostError(_LEFT)
        try:
            stored, kind = _look(_core_of(self._ray), parcel.number)
            return int.from_bytes(stored if kind == _RAW else self._ray.get(parcel.number))  # an error, which is raised
        except self._ray.exceptions.RayError as error:
            raise _to_loss(self._ray, error, self._node_id) from error

    def read(self, reference: Reference) -> Any:
        """Have Ray give it."""
        return self._get(reference)

    def deliver(self, data: bytes, now: float, groups: Sequence[Group]) -> None:
        """Call it, and wait for its answer."""
        self._get(self._call("deliver", data, now, groups))

    def ask_stack(self) -> None:
        """Call it, and forget the call."""
        self._call("tell_stack")

    def end(self) -> None:
        """Have Ray kill it; the actors of a cluster that the program has left have ended with that."""
        if self._ray.is_initialized():
            with contextlib.suppress(self._ray.exceptions.RayError):  # it is in another one meanwhile
                self._ray.kill(self._actor, no_restart=True)

    def _get(self, reference: Any) -> Any:
        if not self._ray.is_initialized():
            raise AgentLostError(_LEFT)
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            raise _to_loss(self._ray, error, self._node_id) from error

    def _call(self, verb: str, *arguments: Any) -> Any:
        if not self._ray.is_initialized():
            raise AgentLostError(_LEFT)
        try:
            return self._calls[verb].remote(*arguments)
        except self._ray.exceptions.RayError as error:
            raise _to_loss(self._ray, error, self._node_id) from error


class _Agent(Agent):
    """An agent that knows its node as Ray calls it."""

    def __init__(self) -> None:
        ray = _import_ray()
        address = ray.util.get_node_ip_address()
        # What Ray is told to encrypt goes by Ray.
        host = None if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true") else address
        super().__init__(address, ray.get_runtime_context().get_node_id(), host)

    def fetch(self, carried: bytes) -> Sequence[memoryview]:
        """Give the buffers of an object of Ray's."""
        ray = _import_ray()
        binary, owner, status = msgspec.msgpack.decode(carried, type=tuple[bytes, bytes, bytes])
        reference = ray.ObjectRef(binary, owner)
        _core_of(ray).deserialize_and_register_object_ref(binary, ray.ObjectRef.nil(), owner, status)
        return _fetch(ray, reference)


def _fetch(ray: Any, reference: Reference) -> Sequence[memoryview]:
    core = _core_of(ray)
    try:
        stored, kind = _look(core, reference)
        if kind != _PICKLED:
            return [memoryview(part) for part in ray.get(reference)]  # an error, which is raised
        _values, pickled = ray._raylet.split_buffer(stored)  # noqa: SLF001
        _list, parts = ray._raylet.unpack_pickle5_buffers(pickled)  # noqa: SLF001
        return [memoryview(part) for part in parts]
    except ray.exceptions.RayError as error:
        raise OSError(f"Ray has lost an object: {error}") from error


def _look(core: Any, reference: Reference) -> tuple[memoryview, bytes]:
    """Wait for an answer, and give its bytes as Ray has them, and what they are.

    To make a value of them takes Ray longer than all the rest, and is not needed for bytes.
    """
    ((stored, kind, _tensors),) = core.get_objects([reference], -1)
    return stored, kind


def _core_of(ray: Any) -> Any:
    """Give what knows how Ray writes references.

    In public it does so in calls alone, which cost a millisecond, or by pickling, which keeps the object for ever. Here
    the parent keeps it, until whoever was given it has committed.
    """
    if not ray.is_initialized():
        raise OSError(_LEFT)
    return ray._private.worker.global_worker.core_worker  # noqa: SLF001


def _knock(address: str) -> None:
    """Raise `OSError` where nobody answers, which Ray would wait for by the minute."""
    host, _, port = address.rpartition(":")
    if "://" not in address and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()


def _to_loss(ray: Any, error: Exception, node_id: str) -> AgentLostError:
    """Give what an error of Ray's says of an agent that was on a node; the id is empty where that is not known.

    That an actor died with its node Ray says in its text alone; but by then its list of nodes says so too.
    """
    text = _tidy(str(error))
    node_lost = _find_lost(ray).get(node_id, "")
    return AgentLostError(
        f"its node was lost: {node_lost}" if node_lost else text,
        is_memory=isinstance(error, ray.exceptions.OutOfMemoryError) or "OUT_OF_MEMORY" in text,
        node_lost=node_lost,
        is_in_doubt=not node_lost and isinstance(error, ray.exceptions.ActorUnavailableError),
    )


def _find_lost(ray: Any) -> dict[str, str]:
    """Give why each lost node is lost, by its id; nothing where Ray cannot be asked any more."""
    try:
        nodes = ray.nodes()
    except Exception:  # noqa: BLE001  Ray says in many ways that it is not there: who asks then learns nothing
        return {}
    return {node["NodeID"]: node.get("DeathReasonMessage") or _NODE_LOST for node in nodes if not node["Alive"]}


def _tidy(text: str) -> str:
    """Leave of Ray's words what they say: no names of ours that mean nothing to anybody, no guesses, no frames."""
    text = _COLOR.sub("", text).partition(" Some common causes include")[0]
    lines = [line.removesuffix(_TRACEBACK) for line in text.splitlines() if not _WORDLESS.match(line)]
    if len(lines) > 1 and lines[0] in _OPENINGS:
        del lines[0]
    return " ".join(" ".join(lines).split())[:_DETAIL_CHARACTERS].rstrip(".")


def _describe_stock(name: str, amount: float, nodes: list[Any], free: Mapping[str, float]) -> str:
    """Say how much of something the cluster has, and where it is spread too thin."""
    each = [node["Resources"].get(name, 0) for node in nodes]
    if not any(each):
        return f"{name} 0"
    told = f"{name} {_amount(name, free.get(name, 0))} of {_amount(name, sum(each))} free"
    most = max(each)
    return f"{told} (at most {_amount(name, most)} on one node)" if most < amount <= sum(each) else told


def _describe_labels(key: str, nodes: list[Any]) -> str:
    values = sorted({node["Labels"][key] for node in nodes if key in node["Labels"]})
    return f"nodes with {' or '.join(f'{key}={value}' for value in values)}" if values else f"no node with {key}"


def _amount(name: str, amount: float) -> str:
    return f"{amount / 2**30:.3g} GiB" if name == "memory" else f"{amount:g}"


def _import_ray() -> Any:
    try:
        import ray  # noqa: PLC0415  an extra
    except ImportError as error:
        message = "placement 'ray' needs Ray, which is not installed: pip install 'routilux[ray]'"
        raise StartError(message) from error
    return ray


ray_cluster = RayCluster()
"""That of this program."""
