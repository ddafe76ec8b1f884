"""Ports for servers that tests start."""

import random
import socket

PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections: none takes a port between its choice and its use."""


def free_port() -> int:
    """Return a port of the loopback address that is free at this moment; seldom one that another process returns."""
    while True:
        port = random.SystemRandom().choice(PORTS)  # a seed would give the same to two processes of the tests
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
