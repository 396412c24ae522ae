"""A codec that carries plain values alone, as one of a job with a store carries less than all; nobody else reads it."""

from __future__ import annotations

from typing import Any

import msgspec

from supervisors.errors import ValueDecodingError, ValueEncodingError

_SCALARS = {type(None), bool, int, float, str, bytes}
_TAG = b"strict:"


class Strict:
    """Carries exact plain values, by MessagePack behind a tag of its own."""

    def encode(self, value: Any, path: str) -> bytes:
        self.check(value, path)
        return _TAG + msgspec.msgpack.encode(value)

    def share(self, value: Any, path: str) -> bytes:
        return self.encode(value, path)

    def withdraw(self, data: bytes) -> None:
        pass

    def house(self, data: bytes) -> bytes:
        return data

    def empty(self, size: int) -> memoryview | None:
        return None

    def decode(self, data: bytes) -> Any:
        if not data.startswith(_TAG):
            raise ValueDecodingError(f"encoded by another codec: {data!r}")
        return msgspec.msgpack.decode(data[len(_TAG) :])

    def check(self, value: Any, path: str) -> None:
        if type(value) is dict:
            for key, part in value.items():
                self.check(part, f"{path}[{key!r}]")
        elif type(value) is list:
            for index, part in enumerate(value):
                self.check(part, f"{path}[{index}]")
        elif type(value) not in _SCALARS:
            raise ValueEncodingError(path, f"it is a {type(value).__name__}")


STRICT = Strict()
