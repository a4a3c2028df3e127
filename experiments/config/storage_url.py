"""Addresses of databases: a password in one is never shown or kept."""

import os
import re
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from search_spaces.records import InputError

VARIABLE = "SCALER_STORAGE"  # a URL with its password, where files and command lines show none
HIDDEN = "***"

_QUERY = re.compile(r"[\w.-]+=[^&]*(&[\w.-]+=[^&]*)*", re.DOTALL)

_given: dict[str, str] = {}  # masked -> whole: files and what is read from them hold the masked


def masked(storage: str) -> str:
    """The URL with *** for its password, for files and messages.

    Raises InputError, without the text, where it is no URL.
    """
    url = _parsed(storage)
    url = url.update_query_dict(dict.fromkeys(_secrets(url), HIDDEN))
    return url.render_as_string(hide_password=True).replace(quote(HIDDEN), HIDDEN)


def without_passwords(text: str) -> str:
    """Any text, as an argument or a server's address, with *** for the passwords of URLs in it."""
    text = re.sub(r"(?s)(://[^:/@\s]*):.*@", rf"\1:{HIDDEN}@", text)
    return re.sub(r"(?i)([?&;][^=&\s]*pass[^=&\s]*=)[^&\s]*", rf"\1{HIDDEN}", text)


def secrets(url: URL) -> list[str]:
    """The passwords in a URL, as they stand there and as a database's own words may quote them."""
    told = [url.password, *(value for key in _secrets(url) for value in _listed(url.query[key]))]
    return [form for word in told if word for form in (str(word), quote(str(word), safe=""))]


def full_url(storage: str) -> URL:
    """The URL to connect with.

    One with a hidden password is completed from what this process was given or SCALER_STORAGE;
    else the database's own client looks for it (PostgreSQL's: PGPASSWORD, ~/.pgpass).
    """
    url = _parsed(storage)
    shown = [key for key in _secrets(url) if url.query[key] == HIDDEN]
    if not shown and url.password != HIDDEN:
        _given[masked(storage)] = storage
        return url
    for told in (_given.get(masked(storage)), os.environ.get(VARIABLE)):
        if told and masked(told) == masked(storage):
            return _parsed(told)
    return url._replace(password=None).difference_update_query(shown)


def _parsed(storage: str) -> URL:
    try:
        return make_url(_quoted(storage))
    except (ArgumentError, ValueError):
        raise InputError(
            "is no database URL; write it as `postgresql+psycopg://user@host/database`"
        ) from None


def _quoted(storage: str) -> str:
    """The URL with its password's own `@`, `/` and `?` quoted: a password ends at the last `@`."""
    scheme, found, rest = storage.partition("://")
    place, mark, query = rest.partition("?")
    if not _QUERY.fullmatch(query):  # the `?` is the password's
        place, mark, query = rest, "", ""
    user, at, host = place.rpartition("@")
    name, colon, password = user.partition(":")
    if not (found and at and colon) or "/" in name:
        return storage
    password = "".join(quote(c, safe="") if c in "@/?#" else c for c in password)
    return f"{scheme}://{name}:{password}@{host}{mark}{query}"


def _secrets(url: URL) -> list[str]:
    """The keys of a URL's query whose values nobody may see, as `password` or `sslpassword`."""
    return [key for key in url.query if "pass" in key.lower()]


def _listed(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value
