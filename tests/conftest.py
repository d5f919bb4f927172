"""Every test starts from the same seeds, in an empty folder, without a network, and leaves no environment behind."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

os.environ |= {"MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else min(2, os.cpu_count() or 1))


SERVICE = "WANDB_SERVICE"
"""Where W&B says which of its processes serves this one: a test that ended it has taken it away for good."""


@pytest.fixture(autouse=True)
def _same_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Seeds, an empty working folder, and the environment as it was."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    before = {name: value for name, value in os.environ.items() if name != SERVICE}
    yield
    service = {name: value for name, value in os.environ.items() if name == SERVICE}
    os.environ.clear()
    os.environ.update(before | service)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets reach this machine only: loopback addresses and unix sockets."""

    def guard(name: str) -> None:
        plain = getattr(socket.socket, name)

        def connect(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
                raise RuntimeError(f"a test tried to reach {address[0]}; tests use no network")
            return plain(self, address)

        monkeypatch.setattr(socket.socket, name, connect)

    plain_lookup = socket.getaddrinfo

    def lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host is not None and not _is_local(host):
            raise RuntimeError(f"a test tried to look up {host}; tests use no network")
        return plain_lookup(host, *args, **kwargs)

    guard("connect")
    guard("connect_ex")
    monkeypatch.setattr(socket, "getaddrinfo", lookup)


def _is_local(host: str | bytes) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in ("", "localhost", socket.gethostname()):
        return True
    try:
        address = ip_address(name.split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
