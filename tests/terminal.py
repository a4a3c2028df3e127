"""A command on a terminal of its own: what it writes there, byte for byte."""

import fcntl
import os
import pty
import struct
import sys
import termios


def on_a_terminal(*arguments, columns=120, **environment):
    """Run Python with these arguments on a pseudo-terminal; its status and its output as text."""
    environment = {"COLUMNS": str(columns), **environment}
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(environment)
        os.execv(sys.executable, [sys.executable, *map(str, arguments)])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    written = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        written += part
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), written.decode()
