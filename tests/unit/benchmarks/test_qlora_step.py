"""The step over 4-bit weights on a CPU, on a small network: what benchmarks/qlora_step_cpu.py shows at 7B."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from conftest import ROOT

pytest.importorskip("bitsandbytes")


@pytest.fixture
def qlora(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # what it sets is forgotten after the test
    return __import__("qlora_step_cpu")


def test_one_step_of_the_critique(qlora: ModuleType, tmp_path: Path) -> None:
    """Two layers of seven matrices; eight answers, so that the loss starts at log 8; B moves by the learning rate."""
    qlora.main(["--tiny", "--out", str(tmp_path / "deep" / "step.json")])
    found: dict[str, Any] = json.loads((tmp_path / "deep" / "step.json").read_text())
    assert found["loss"] == pytest.approx(math.log(8), abs=1e-6)
    assert found["matrices_in_4_bits"] == 14 and found["moved_in_4_bits"] == 0
    assert found["adapters"] == found["adapters_moved"] == 28
    assert found["largest_move"] == pytest.approx(qlora.LR, rel=0.01)
    assert 0.1 < found["gradient_norm"] < 100
    assert 0.1 < found["making_peak_gb"] <= found["peak_gb"]


def test_what_is_in_4_bits_and_what_is_not(qlora: ModuleType) -> None:
    """Matrices of the decoder, to the error of NF4; tower, embedding and head as drawn; nothing is left empty."""
    import bitsandbytes as bnb

    settings = qlora.StudentSettings(
        model="nano",
        adapter=qlora.AdapterSettings(kind="qlora"),
        dtype="bfloat16",
        max_prompt_tokens=64,
        max_branch_tokens=64,
        max_context_tokens=64,
    )
    said: list[str] = []
    model = qlora.network(settings, qlora.config(qlora.processor(), tiny=True), 0, said.append)
    assert said == ["layer 1 of 2", "layer 2 of 2"]
    assert not [n for n, t in [*model.named_parameters(), *model.named_buffers()] if t.is_meta]
    four = {name: m for name, m in model.named_modules() if isinstance(m, bnb.nn.Linear4bit)}
    assert len(four) == 14 and all(".language_model.layers." in name for name in four)
    for layer in four.values():
        values = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        assert values.float().std() == pytest.approx(qlora.SPREAD, rel=0.05)
        assert 2 < len(values[0, :64].unique()) <= 16  # one block has 16 levels
    others = {p.dtype for n, p in model.named_parameters() if n.removesuffix(".weight") not in four}
    assert others == {torch.bfloat16}
    assert model.lm_head.weight.float().std() == pytest.approx(qlora.SPREAD, rel=0.05)
