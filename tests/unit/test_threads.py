"""How threads wait for each other, which libgomp reads once, when torch is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

KEYS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
PROGRAM = f"import apo_lightning, json, os; print(json.dumps({{k: os.environ.get(k) for k in {KEYS}}}))"


def after_import(given: dict[str, str]) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if key not in KEYS}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=own | given, capture_output=True, text=True, check=True)
    return {key: value for key, value in json.loads(done.stdout).items() if value is not None}


def test_a_short_look_then_asleep() -> None:
    assert after_import({}) == {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}


@pytest.mark.parametrize("given", [{"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}, {"KMP_BLOCKTIME": "0"}])
def test_a_users_choice_stands(given: dict[str, str]) -> None:
    assert after_import(given) == given
