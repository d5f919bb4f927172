"""What conftest promises: no network but this machine, an empty folder, an environment that is put back."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest


@pytest.mark.parametrize("address", ["192.0.2.1", "203.0.113.7"])
def test_other_machines_are_out_of_reach(address: str) -> None:
    with socket.socket() as plain, pytest.raises(RuntimeError, match="tests use no network"):
        plain.connect((address, 80))
    with socket.socket() as plain, pytest.raises(RuntimeError, match="tests use no network"):
        plain.connect_ex((address, 80))
    with pytest.raises(RuntimeError, match="tests use no network"):
        socket.create_connection(("example.org", 443), timeout=1)


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


@pytest.mark.parametrize("_turn", [1, 2])
def test_nothing_leaks_from_one_test_to_the_next(_turn: int) -> None:
    """The second turn sees nothing of the first."""
    assert "LEAKED_BY_A_TEST" not in os.environ
    assert list(Path.cwd().iterdir()) == []
    os.environ["LEAKED_BY_A_TEST"] = "1"
    Path("leaked").touch()
