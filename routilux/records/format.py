"""A checkpoint as bytes: its layout, its seal, and its strict reading. Pure.

Owns the layout (docs/reference/checkpoint-format.md). Knows nothing of stores: large states are objects of their own,
which the caller keeps and fetches. Nothing that a user wrote is decoded here.

Layout, little-endian::

    0      8   magic
    8      2   format
    10     2   min_reader: the oldest format whose readers can read it
    12     1   seal: 0 for a digest, 1 for a keyed one
    13     3   zero
    16     4   length of the header, n
    20     4   CRC-32 of bytes 0 to 20 and of the header
    24     n   header, with the table of sections
    24+n  32   seal: BLAKE2b-256 of all before, keyed where there is a key
               sections, one after the other, as the table says
          8    length of it all
          8    end magic

Theory of operation. The seal covers the header, and the header holds the digest of every section and object; so the
seal covers all, each byte is hashed once, and the header alone can be proved. Nothing is decoded before it is proved,
and no length is believed that does not add up to the length of what was given. The checksum tells damage from a
wrong key, and lets a list be made without one. The first 24 bytes stay as they are in every format.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from routilux.errors import InternalError, OptionError
from routilux.records.consistency import find_contradiction
from routilux.records.errors import (
    DamagedCheckpointError,
    KeyMissingError,
    UnsealedError,
    UnsupportedFormatError,
    WrongKeyError,
)
from routilux.records.packing import Unpacker, pack
from routilux.records.schema import (
    Count,
    Digest,
    Header,
    Image,
    JobImage,
    KeptState,
    RoutineImage,
    StateImage,
    Topology,
)

FORMAT = 1
"""What is written here."""
MIN_READER = 1
"""The oldest format whose readers can read what is written here."""
PRELUDE_BYTES = 24
"""What has to be there to tell how long the header is."""
OBJECT_BYTES = 64 * 1024
"""States from this size on are objects of their own (arbitrary)."""
MAX_HEADER_BYTES = 64 * 1024 * 1024
"""Header at most: more announced is damage (arbitrary; a routine takes some 200 bytes)."""
KEY_BYTES = (16, 64)
"""A key's length, at least and at most (BLAKE2b takes 64)."""

_MAGIC = b"\x89RTXCP\r\n"  # as PNG's: a copy in text mode changes it
_END_MAGIC = b"RTXCPEND"
_PRELUDE = struct.Struct("<8sHHB3xI")
_CRC = struct.Struct("<I")
_TAIL = struct.Struct("<Q8s")
_DIGEST, _MAC = 0, 1
_SEAL_BYTES = 32


class Section(msgspec.Struct, frozen=True, array_like=True):
    """One row of the table of sections.

    Args:
        kind: `topology`, `job`, `routine` or `state`; others are for newer readers.
        name: id of the routine, where it is of one.
        worker: number of the worker, for a state.
        is_object: whether it is an object of its own, and not in the file.
        size: its length in bytes.
        digest: BLAKE2b-256 of it.
    """

    kind: str
    name: str
    worker: Count
    is_object: bool
    size: Annotated[int, Meta(ge=0, le=2**48)]
    digest: Digest

    def __str__(self) -> str:
        match self.kind:
            case "routine":
                return f"the section of routine {self.name!r}"
            case "state":
                return f"the state of worker {self.worker} of routine {self.name!r}"
            case _:
                return f"the section {self.kind!r}"

    @property
    def object_name(self) -> str:
        """What its object is called."""
        return f"state-{self.digest.hex()}"


class Contents(msgspec.Struct, frozen=True):
    """What a checkpoint begins with: its header, and the table of what it holds."""

    header: Header
    sections: list[Section]


class StateObject(NamedTuple):
    """A state that is to be kept as an object of its own, before the checkpoint that refers to it."""

    name: str
    body: bytes


class WrittenCheckpoint(NamedTuple):
    """A checkpoint as bytes.

    Args:
        parts: the file, in parts.
        objects: states that are objects of their own and were not kept before.
        states: all states, to stand for those that are unchanged in the next checkpoint.
    """

    parts: list[bytes]
    objects: list[StateObject]
    states: list[KeptState]


Fetch = Callable[[str, int], bytes]
"""Gives a state object by name; of a longer one than the number it may give only so many bytes."""


def check_key(key: object) -> None:
    """Refuse what cannot be a key; raises `OptionError`."""
    least, most = KEY_BYTES
    told = f"a key is {least} to {most} bytes that nobody can guess"
    if key is not None and not isinstance(key, bytes):
        raise OptionError(f"{told}, not of type {type(key).__name__}")
    if key is not None and not least <= len(key) <= most:
        raise OptionError(f"{told}, not {len(key)}")


def write_checkpoint(image: Image, *, kept: Sequence[KeptState] = (), key: bytes | None = None) -> WrittenCheckpoint:
    """Write a job as a checkpoint.

    Args:
        image: the job, with those states that have changed.
        kept: the states that have not, as the newest checkpoint has them.
        key: what the checkpoint is sealed with; None for no seal but a digest.

    Raises:
        OptionError: the key cannot be one.
        InternalError: the image contradicts itself.
    """
    check_key(key)
    contradiction = find_contradiction(image, kept)
    if contradiction is not None:
        raise InternalError(f"the image of job {image.header.job_id!r} contradicts itself: {contradiction}")
    states = sorted([*map(keep_state, image.states), *kept], key=lambda state: (state.routine_id, state.worker))
    rows = [("topology", "", pack(image.topology)), ("job", "", pack(image.job))]
    rows += [("routine", routine.id, pack(routine)) for routine in image.routines]
    sections = [Section(kind, name, 0, False, len(body), _digest(body)) for kind, name, body in rows]
    bodies = [body for _kind, _name, body in rows]
    for state in states:
        is_object = state.size >= OBJECT_BYTES
        sections.append(Section("state", state.routine_id, state.worker, is_object, state.size, state.digest))
        if not is_object:
            bodies.append(_body_of(state))
    objects = {
        section.object_name: StateObject(section.object_name, state.body)
        for section, state in zip(sections[len(rows) :], states, strict=True)
        if section.is_object and state.body is not None
    }
    head = _write_head(Contents(image.header, sections), key)
    tail = _TAIL.pack(len(head) + sum(map(len, bodies)) + _TAIL.size, _END_MAGIC)
    return WrittenCheckpoint([head, *bodies, tail], list(objects.values()), [_let_go(state) for state in states])


def keep_state(state: StateImage) -> KeptState:
    """Give what stands for a state, body included."""
    return KeptState(state.routine_id, state.worker, len(state.body), _digest(state.body), state.body)


def read_checkpoint(data: bytes, fetch: Fetch, *, key: bytes | None = None) -> Image:
    """Read a checkpoint, with its states.

    Args:
        data: the whole file.
        fetch: gives the state objects.
        key: what it was sealed with; None for a checkpoint without a seal.

    Raises:
        DamagedCheckpointError: it, or a state object, is not what was written.
        UnsupportedFormatError: a newer version wrote it.
        SealError: it and the key do not go together; which of the three says how.
        OptionError: the key cannot be one.

    What `fetch` raises passes.
    """
    head = _read_head(data)
    contents = head.prove(key)
    bodies = _cut_sections(data, head.end, contents.sections)
    parts = _Parts()
    for section, body in zip(contents.sections, bodies, strict=True):
        whole = memoryview(fetch(section.object_name, section.size + 1)) if body is None else body
        if len(whole) != section.size or _digest(whole) != section.digest:
            where = f" in object {section.object_name!r}" if section.is_object else ""
            raise DamagedCheckpointError(f"{section}{where} is not what was written")
        parts.add(section, whole)
    image = parts.to_image(contents.header)
    contradiction = find_contradiction(image)
    if contradiction is not None:
        raise DamagedCheckpointError(contradiction)
    return image


def header_bytes(start: bytes) -> int:
    """Tell how many bytes of a file `read_contents` needs.

    Args:
        start: the file's first bytes, `PRELUDE_BYTES` or more.

    Raises:
        DamagedCheckpointError: they are no checkpoint's.
    """
    return _read_prelude(start).end


def read_contents(data: bytes, *, key: bytes | None = None) -> Contents:
    """Read the header and the table of sections, without reading the rest.

    Args:
        data: the file's first bytes, `header_bytes` or more.
        key: what it was sealed with. Without one the header of a sealed checkpoint is read too, but not proved: good
            for a list, and for nothing that is relied on.

    Raises:
        DamagedCheckpointError: it is not what was written.
        UnsupportedFormatError: a newer version wrote it.
        UnsealedError: a key was given, and it was written without one.
        WrongKeyError: it was sealed with another key, or changed.
        OptionError: the key cannot be one.
    """
    head = _read_head(data)
    return head.decode() if key is None and head.seal_kind == _MAC else head.prove(key)


class _Prelude(NamedTuple):
    min_reader: int
    seal_kind: int
    length: int
    crc: int

    @property
    def end(self) -> int:
        """Where the sections begin."""
        return PRELUDE_BYTES + self.length + _SEAL_BYTES


class _Head(NamedTuple):
    """The beginning of a file, of which nothing is decoded yet."""

    seal_kind: int
    sealed: memoryview
    seal: bytes

    @property
    def end(self) -> int:
        return len(self.sealed) + _SEAL_BYTES

    def prove(self, key: bytes | None) -> Contents:
        """Check the seal, then decode."""
        check_key(key)
        if self.seal_kind == _MAC and key is None:
            raise KeyMissingError
        if self.seal_kind == _DIGEST and key is not None:
            raise UnsealedError
        if not hmac.compare_digest(_seal([self.sealed], key), self.seal):
            # The checksum was right: who changes a bit by accident does not change the checksum with it.
            raise WrongKeyError if key is not None else DamagedCheckpointError("its header is not what was written")
        return self.decode()

    def decode(self) -> Contents:
        return _read_contents(self.sealed[PRELUDE_BYTES:], "its header")


_read_contents = Unpacker(Contents, DamagedCheckpointError).unpack
_read_topology = Unpacker(Topology, DamagedCheckpointError).unpack
_read_job = Unpacker(JobImage, DamagedCheckpointError).unpack
_read_routine = Unpacker(RoutineImage, DamagedCheckpointError).unpack


class _Parts:
    """What was read of an image so far."""

    def __init__(self) -> None:
        self._topology: Topology | None = None
        self._job: JobImage | None = None
        self._routines: list[RoutineImage] = []
        self._states: list[StateImage] = []

    def add(self, section: Section, body: memoryview) -> None:
        match section.kind:
            case "topology":
                self._once(self._topology, section.kind)
                self._topology = _read_topology(body, str(section))
            case "job":
                self._once(self._job, section.kind)
                self._job = _read_job(body, str(section))
            case "routine":
                routine = _read_routine(body, str(section))
                if routine.id != section.name:
                    raise DamagedCheckpointError(f"{section} is that of routine {routine.id!r}")
                self._routines.append(routine)
            case "state":
                self._states.append(StateImage(section.name, section.worker, bytes(body)))
            case _:
                pass  # a newer version's, which its `min_reader` says can be done without

    def to_image(self, header: Header) -> Image:
        if self._topology is None or self._job is None:
            raise DamagedCheckpointError("a section is missing")
        return Image(header, self._topology, self._job, self._routines, self._states)

    @staticmethod
    def _once(before: object, kind: Literal["topology", "job"]) -> None:
        if before is not None:
            raise DamagedCheckpointError(f"there are two sections {kind!r}")


def _write_head(contents: Contents, key: bytes | None) -> bytes:
    header = pack(contents)
    if len(header) > MAX_HEADER_BYTES:
        raise InternalError(f"the header of a checkpoint takes {len(header):,} bytes, over {MAX_HEADER_BYTES:,}")
    prelude = _PRELUDE.pack(_MAGIC, FORMAT, MIN_READER, _DIGEST if key is None else _MAC, len(header))
    sealed = [prelude, _CRC.pack(zlib.crc32(header, zlib.crc32(prelude))), header]
    return b"".join([*sealed, _seal(sealed, key)])


def _read_prelude(start: bytes) -> _Prelude:
    if start[: len(_MAGIC)] != _MAGIC or len(start) < PRELUDE_BYTES:
        raise DamagedCheckpointError("it does not begin as a checkpoint does")
    _magic, _format, min_reader, seal_kind, length = _PRELUDE.unpack_from(start)
    if length > MAX_HEADER_BYTES:
        raise DamagedCheckpointError(f"a header of {length:,} bytes is announced")
    return _Prelude(min_reader, seal_kind, length, *_CRC.unpack_from(start, _PRELUDE.size))


def _read_head(data: bytes) -> _Head:
    prelude = _read_prelude(data)
    if len(data) < prelude.end:
        raise DamagedCheckpointError("it ends within its header")
    whole = memoryview(data)
    sealed = whole[: prelude.end - _SEAL_BYTES]
    if zlib.crc32(sealed[PRELUDE_BYTES:], zlib.crc32(sealed[: _PRELUDE.size])) != prelude.crc:
        raise DamagedCheckpointError("its header is not what was written")
    if prelude.min_reader > FORMAT:
        raise UnsupportedFormatError("the checkpoint", prelude.min_reader, FORMAT)
    if prelude.seal_kind not in (_DIGEST, _MAC):
        raise DamagedCheckpointError(f"it has a seal of kind {prelude.seal_kind}")
    return _Head(prelude.seal_kind, sealed, bytes(whole[len(sealed) : prelude.end]))


def _cut_sections(data: bytes, start: int, sections: list[Section]) -> list[memoryview | None]:
    """Give the bytes of each section that is in the file; all the lengths have to add up."""
    end = start + sum(section.size for section in sections if not section.is_object)
    if end + _TAIL.size != len(data) or _TAIL.unpack_from(data, end) != (len(data), _END_MAGIC):
        raise DamagedCheckpointError(f"it has {len(data):,} bytes, and not an end at {end + _TAIL.size:,}")
    whole = memoryview(data)
    bodies: list[memoryview | None] = []
    for section in sections:
        bodies.append(None if section.is_object else whole[start : start + section.size])
        start += 0 if section.is_object else section.size
    return bodies


def _body_of(state: KeptState) -> bytes:
    if state.body is None:
        raise InternalError(
            f"the state of routine {state.routine_id!r}, of {state.size:,} bytes, is no object of its own"
        )
    return state.body


def _let_go(state: KeptState) -> KeptState:
    """Without the body where that is an object of its own by now."""
    return msgspec.structs.replace(state, body=None) if state.size >= OBJECT_BYTES else state


def _digest(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=_SEAL_BYTES).digest()


def _seal(parts: Sequence[bytes | memoryview], key: bytes | None) -> bytes:
    seal = hashlib.blake2b(digest_size=_SEAL_BYTES, key=key or b"", person=b"routilux-seal")
    for part in parts:
        seal.update(part)
    return seal.digest()
