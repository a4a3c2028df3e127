"""No part of a password is shown or kept, however it is written into an address."""

import sys

import pytest

from experiments.config.run_folder import environment_facts
from experiments.config.schema import SearchConfig
from experiments.config.sections import ClusterSection, TrackingSection
from experiments.config.storage_url import full_url, masked, without_passwords
from experiments.store.database import open_database
from search_spaces import InputError

# address -> (its password, its host as a client gets it)
ADDRESSES = {
    "postgresql+psycopg://user:lEft@rIght@host/db": ("lEft@rIght", "host"),
    "postgresql+psycopg://user:lEft@mId@rIght@host:5432/db": ("lEft@mId@rIght", "host"),
    "postgresql+psycopg://user:lEft/rIght@host/db": ("lEft/rIght", "host"),
    "postgresql+psycopg://user:lEft?rIght@host/db": ("lEft?rIght", "host"),
    "postgresql+psycopg://user:lEft#@rIght:@host/db": ("lEft#@rIght:", "host"),
    "postgresql+psycopg://user:lEft%40rIght@host/db": ("lEft@rIght", "host"),
    "postgresql+psycopg://user:lEft@rIght@host/db?options=a@b": ("lEft@rIght", "host"),
}
QUERIES = ["password", "sslpassword", "PASSWORD", "passwd", "my_pass", "passphrase"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_password_ends_at_the_last_at(address):
    password, host = ADDRESSES[address]
    url = full_url(address)
    assert (url.username, url.password, url.host, url.database) == ("user", password, host, "db")
    for shown in (masked(address), without_passwords(address), without_passwords(f"-s={address}")):
        assert "lEft" not in shown
        assert "rIght" not in shown
    assert masked(masked(address)) == masked(address)
    assert full_url(masked(address)).password == password  # this process was given it


@pytest.mark.parametrize("key", QUERIES)
def test_a_password_in_the_query_is_hidden_whatever_its_key_is_called(key, monkeypatch):
    address = f"postgresql+psycopg://user@host/db?{key}=sEcret&sslmode=require"
    whole = full_url(address)
    for shown in (masked(address), without_passwords(address)):
        assert "sEcret" not in shown
        assert "sslmode=require" in shown
    assert full_url(masked(address)) == whole
    monkeypatch.setattr("experiments.config.storage_url._given", {})
    assert dict(full_url(masked(address)).query) == {"sslmode": "require"}


@pytest.mark.parametrize(
    "address",
    [
        "sqlite:////data/a:b@c/study.db",
        "postgresql+psycopg://user@host:5432/db?connect_timeout=3",
    ],
)
def test_an_address_without_a_password_stays_as_it_is(address):
    assert full_url(address).password is None
    assert full_url(masked(address)) == full_url(address)
    assert "***" not in masked(address)


@pytest.mark.parametrize("address", [*ADDRESSES, "postgresql+psycopg://user@host/db?passwd=lEft"])
def test_no_file_of_a_run_holds_a_part_of_it(address, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scaler", f"--storage={address}", address])
    cluster = ClusterSection(storage=address)
    tracking = TrackingSection(mlflow_uri="https://user:lEft@rIght@host/x")
    config = SearchConfig(name="x", cluster=cluster, tracking=tracking)
    for kept in (config.to_yaml(), str(environment_facts()), repr(config)):
        assert "lEft" not in kept
        assert "rIght" not in kept


@pytest.mark.parametrize("query", ["", "&sslpassword=lEft"])
def test_a_message_of_the_database_shows_none(query):
    with pytest.raises(InputError) as told:
        open_database(f"postgresql+psycopg://u:lEft@rIght@127.0.0.1:9/x?connect_timeout=1{query}")
    assert "lEft" not in str(told.value)
    assert "rIght" not in str(told.value)
