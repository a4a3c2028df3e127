"""Ends a run whose cluster has lost its head; Ray would abort the process without a word of it."""

import _thread
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from experiments.config.messages import WorkFailed
from experiments.engine.ray_internals import RECONNECT

PAUSE = 2.0  # seconds between two looks
GRACE = 15.0  # seconds for the run to end by itself


@contextmanager
def head_watched(address: str) -> Iterator[None]:
    """Raise WorkFailed in the main thread once nothing has listened at `address` for a while.

    That is half of the time after which Ray gives up (RAY_gcs_rpc_server_reconnect_timeout_s, a
    minute): a head that is started again sooner, with its state in Redis, is not taken for lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    lost, over = threading.Event(), threading.Event()
    watch = threading.Thread(target=_watch, args=(address, lost, over), daemon=True)
    watch.start()
    try:
        yield
    except (KeyboardInterrupt, Exception):
        if not lost.is_set() and answers(address):
            raise
        raise WorkFailed(_line(address)) from None
    finally:
        over.set()


def answers(address: str, *, timeout: float = 5.0) -> bool:
    """Whether something listens at `address` (host:port)."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout).close()
    except OSError:
        return False
    return True


def _watch(address: str, lost: threading.Event, over: threading.Event) -> None:
    patience = float(os.environ.get(RECONNECT, "60")) / 2
    heard = time.monotonic()
    while time.monotonic() - heard < patience:
        if over.wait(PAUSE):
            return
        if answers(address):
            heard = time.monotonic()
    lost.set()
    _thread.interrupt_main()
    if not over.wait(GRACE):  # it waits within Ray, for a cluster that is gone
        print(f"error: {_line(address)}", file=sys.stderr, flush=True)
        os._exit(1)
    threading.main_thread().join()  # which may take its time, with what it still has to say
    time.sleep(1)
    os._exit(1)  # Ray's own farewell to the cluster would not end


def _line(address: str) -> str:
    return (
        f"the Ray cluster at '{address}' has lost its head; every finished trial is kept: start "
        f"the head again, and the same command goes on"
    )
