"""Addresses of databases: a password in one is never shown or kept."""

import os
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from search_spaces.records import InputError

VARIABLE = "SCALER_STORAGE"  # a URL with its password, where files and command lines show none
HIDDEN = "***"

_given: dict[str, str] = {}  # masked -> whole: files and what is read from them hold the masked


def masked(storage: str) -> str:
    """The URL with *** for its password, for files and messages.

    Raises InputError, without the text, where it is no URL.
    """
    url = _parsed(storage)
    if "password" in url.query:
        url = url.update_query_dict({"password": HIDDEN})
    return url.render_as_string(hide_password=True).replace(quote(HIDDEN), HIDDEN)


def full_url(storage: str) -> URL:
    """The URL to connect with.

    One with a hidden password is completed from what this process was given or SCALER_STORAGE;
    else the database's own client looks for it (PostgreSQL's: PGPASSWORD, ~/.pgpass).
    """
    url = _parsed(storage)
    if HIDDEN not in (url.password, url.query.get("password")):
        _given[masked(storage)] = storage
        return url
    for told in (_given.get(masked(storage)), os.environ.get(VARIABLE)):
        if told and masked(told) == masked(storage):
            return _parsed(told)
    return url._replace(password=None).difference_update_query(["password"])


def _parsed(storage: str) -> URL:
    try:
        return make_url(storage)
    except (ArgumentError, ValueError):
        raise InputError(
            "is no database URL; write it as `postgresql+psycopg://user@host/database`"
        ) from None
