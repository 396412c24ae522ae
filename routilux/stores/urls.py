"""The URL of a PostgreSQL database: what is connected to, and what people may see of it.

Owns the division. A password never leaves by an error, a log line, a `repr` or a command's output: what is shown of a
URL is one without secrets, by which another program opens the same store, with the password from where libpq looks
for one (`PGPASSWORD`, `~/.pgpass`). So the grammar is stricter than libpq's, which takes what it cannot read for the
name of a machine, and says that in its error.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from routilux.errors import OptionError

DEFAULT_SCHEMA = "routilux"
"""The schema in which a store keeps its tables."""

_ENCODED = r"%(?!00)[0-9A-Fa-f]{2}"
_WORD = rf"(?:[^\s%:/@?#&=\[\]]|{_ENCODED})"
_URL = re.compile(
    rf"(?P<kind>postgres(?:ql)?://)"
    rf"(?:(?P<user>{_WORD}*)(?::(?P<password>(?:{_WORD}|[:=&])*))?@)?"
    rf"(?P<place>(?:{_WORD}|[:\[\]])*(?:/{_WORD}*)?)"
    rf"(?:\?(?P<options>.*))?",
    re.DOTALL,
)
_OPTION = re.compile(rf"(?P<name>[a-z_]+)=(?P<value>(?:[^\s%&]|{_ENCODED})*)")
_SECRET = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"})
"""Options of libpq that nobody is to see."""
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class DatabaseUrl(NamedTuple):
    """Where a store's tables are.

    Args:
        to_connect: what libpq is told; it may hold a password.
        shown: what people may see.
        schema: the schema of the tables.
        options: the names of the options that libpq is told.
    """

    to_connect: str
    shown: str
    schema: str
    options: frozenset[str]

    def __repr__(self) -> str:
        return f"DatabaseUrl({self.shown!r})"


def is_url(name: str) -> bool:
    """True for the URL of a PostgreSQL database; else it is a path."""
    return name.startswith(("postgresql://", "postgres://"))


def read_url(url: str, schema: str | None = None) -> DatabaseUrl:
    """Take a URL apart.

    Args:
        url: as libpq takes it; the option `schema` is this store's.
        schema: the schema; None for what the URL says, or else `routilux`.

    Raises:
        OptionError: it is none, or says another schema. The error does not hold it.
    """
    found = _URL.fullmatch(url)
    options = [] if found is None or not found["options"] else found["options"].split("&")
    read = [_OPTION.fullmatch(option) for option in options]
    if found is None or not all(read):
        raise OptionError(
            "a store in PostgreSQL is named as postgresql://user@host:5432/database?option=value, and this URL cannot "
            "be read (it is not shown, since it may hold a password): in a name or a password, the characters "
            "% : / @ ? # & = [ ] and blanks are written as %25 %3A %2F %40 %3F %23 %26 %3D %5B %5D %20"
        )
    named = [(option["name"], option["value"]) for option in read if option is not None]
    told = dict(named).get("schema", schema)
    if schema is not None and told != schema:
        raise OptionError(f"the store's URL says the schema {told!r}, and schema={schema!r} is given too")
    chosen = _checked_schema(DEFAULT_SCHEMA if told is None else told)
    to_libpq = [(name, value) for name, value in named if name != "schema"]
    user, password = found["user"], found["password"]
    full = user if password is None else f"{user}:{password}"
    seen = [(name, value) for name, value in to_libpq if name not in _SECRET]
    if chosen != DEFAULT_SCHEMA:
        seen.append(("schema", chosen))
    return DatabaseUrl(
        _join(found["kind"], full, found["place"], to_libpq),
        _join(found["kind"], user, found["place"], seen),
        chosen,
        frozenset(name for name, _ in to_libpq),
    )


def without_secrets(name: str) -> str:
    """Give what names a store as people may see it: a path as it is. Raises `OptionError` for a URL that is none."""
    return read_url(name).shown if is_url(name) else name


def _join(kind: str, user: str | None, place: str, options: list[tuple[str, str]]) -> str:
    who = "" if user is None else f"{user}@"
    told = "&".join(f"{name}={value}" for name, value in options)
    return kind + who + place + (f"?{told}" if told else "")


def _checked_schema(schema: object) -> str:
    if isinstance(schema, str) and _SCHEMA.fullmatch(schema) and not schema.startswith("pg_"):
        return schema
    raise OptionError(
        f"a schema is named by 1 to 63 lower-case letters, digits and '_', and not by pg_...; got {schema!r}"
    )
