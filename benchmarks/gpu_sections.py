"""What the GPU proof shows beside its table: equality of modes, rates, generation, QLoRA, compiled layers."""

from __future__ import annotations

import copy
import importlib.util
import time
from dataclasses import replace
from typing import Any

import torch
from common import Setup
from contenders import MODES
from gpu_parts import DTYPE, Bench, NotHere, OnDevice, as_the_libraries, checkpointing, config, network, repeated
from gpu_table import Add, planned_gb
from torch import Tensor, nn

from apo_lightning.models import generation
from apo_lightning.models.network import share
from apo_lightning.models.student import Student
from apo_lightning.scoring import Parts, as_encoder_outputs, encode_images, model_inputs, precision, score
from apo_lightning.settings import DecodingSettings, StudentSettings
from apo_lightning.types import BranchBatch

BF16_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bf16 peak of a device, from its maker's datasheet."""
SHALLOW = 4
"""Decoder layers of the network that is held against float32: with them both fit beside the 7B one."""


def equality(bench: Bench, add: Add) -> None:
    """Every mode in bfloat16 and in float32, against the model's own forward over whole sequences in float32, on a
    network of a few layers whose weights are the same numbers in both."""
    setup = Setup(450, 100, 3, seed=bench.seed) if not bench.tiny else bench.setup(bench.prompts[0])
    low = bench.adapted(
        network(config(bench.own, tiny=bench.tiny, layers=None if bench.tiny else SHALLOW), bench.device, bench.seed)
    )
    for name, parameter in low.named_parameters():
        if ".lora_B." in name:  # zeros would leave half of the gradients at zero
            nn.init.normal_(parameter, std=0.01)
    high, wanted = copy.deepcopy(low).float(), None
    for dtype, model in (("float32", high), (DTYPE, low)):
        own = OnDevice(model, bench.batch(setup), setup, dtype)
        for way in ("whole sequences", *MODES, "separate"):
            found = _gradients(own, way)
            wanted = found if wanted is None else wanted
            add(dtype=dtype, way=way, **differences(*found, *wanted, setup.answer))


def _gradients(own: OnDevice, way: str) -> tuple[Tensor, Tensor]:
    """Log-probs ``[1, U]`` and all gradients in one line, under a loss whose grad_wrt_logps is 1 for every answer."""
    own.forget()
    if way == "whole sequences":
        logps = own.step("separate")
    else:
        mode, rows = MODES.get(way, (way, None))
        with precision.compute(own.model, own.dtype):
            logps = score(own.model, own.batch.first(own.batch.branch_ids.shape[1]), mode=mode, rows=rows).logps
            logps.sum().backward()
        own.batch.features = None
    gradient = torch.cat([p.grad.flatten() for p in own.model.parameters() if p.grad is not None])
    own.forget()
    return logps.detach().float(), gradient.float()


def differences(
    logps: Tensor, gradient: Tensor, wanted: Tensor, grad_wrt_logps: Tensor, tokens: int
) -> dict[str, float]:
    """Largest difference of an answer's log-prob, in nats and a token and of its size; of the gradient, the norm of the
    difference over its norm, and the largest element's over the largest."""
    off, turn = (logps - wanted).abs().max(), gradient - grad_wrt_logps
    return dict(
        logp_nats=float(off),
        logp_nats_a_token=float(off) / tokens,
        logp_relative=float(((logps - wanted) / wanted).abs().max()),
        gradient_relative=float(turn.norm() / grad_wrt_logps.norm()),
        gradient_max_relative=float(turn.abs().max() / grad_wrt_logps.abs().max()),
        cosine=float(nn.functional.cosine_similarity(gradient, grad_wrt_logps, dim=0)),
    )


def rate(bench: Bench, add: Add) -> None:
    """Tokens per second and use of the device's arithmetic, joint; and for how much of a step the device is busy."""
    model = bench.adapted()
    for prompt in bench.prompts:
        setup = bench.setup(prompt)
        ours = bench.contender(setup, model)
        found = bench.meter.measure(lambda ours=ours: ours.step("packed"), bench.repeats)
        tokens = prompt + (1 + setup.negatives) * setup.answer
        flops, seconds = model_flops(ours.model, ours.batch), found["median_s"]
        add(
            what="packed",
            prompt=prompt,
            tokens_a_s=tokens / seconds,
            sequence_tokens_a_s=(1 + setup.negatives) * (prompt + setup.answer) / seconds,
            tflop=flops / 1e12,
            tflop_a_s=flops / seconds / 1e12,
            use=_use(bench, flops / seconds),
            **found,
        )
        tower = bench.meter.measure(lambda ours=ours: _looked(ours), bench.repeats)
        add(what="tower", prompt=prompt, **tower)
    for prompt in bench.prompts if bench.meter.on_gpu else ():
        ours = bench.contender(bench.setup(prompt), model)
        with as_the_libraries(model):
            add(prompt=prompt, **{**_busy(bench, ours, "joint")[0], "what": "busy, joint, libraries' layers"})
        add(prompt=prompt, **{**_busy(bench, ours, "joint")[0], "what": "busy, joint"})
        for row in _busy(bench, ours, "packed"):
            add(prompt=prompt, **row)


@torch.no_grad()
def _looked(ours: OnDevice) -> None:
    with precision.compute(ours.model, ours.dtype):
        encode_images(Parts.of(ours.model), replace(ours.batch, features=None))


def _use(bench: Bench, flops: float) -> float | None:
    name = torch.cuda.get_device_name(bench.device) if bench.meter.on_gpu else ""
    return next((flops / peak for known, peak in BF16_FLOPS.items() if known in name), None)


def model_flops(model: nn.Module, batch: BranchBatch) -> float:
    """What one joint step over frozen weights must do: products forward and for the gradient of their inputs (twice
    2 x weights x tokens), the head on scored tokens only, attention forward and backward, the tower forward. Adapters,
    norms and the attention inside the tower are left out."""
    parts = Parts.of(model)
    text = parts.whole.config.get_text_config()
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    answers, length = batch.branch_ids.shape[1:]
    prompt = batch.prefix_ids.shape[1]
    scored, tokens = answers * length, prompt + answers * length
    pairs = prompt**2 / 2 + answers * (prompt * length + length**2 / 2)
    attention = 12 * text.num_attention_heads * width * pairs * parts.layers
    patches = sum(value.shape[0] for name, value in batch.vision.items() if name == "pixel_values")
    seen = 2 * patches * _weights(parts.trunk.visual) if hasattr(parts.trunk, "visual") else 0
    return 4 * _weights(parts.decoder) * tokens + 4 * parts.head.weight.numel() * scored + attention + seen


def _weights(module: nn.Module) -> int:
    """Elements of matrices that are multiplied by, without adapters and embeddings."""
    linears = {name: m for name, m in module.named_modules() if isinstance(m, nn.Linear) and "lora_" not in name}
    return sum(linear.weight.numel() for linear in linears.values())


def _busy(bench: Bench, ours: OnDevice, way: str) -> list[dict[str, Any]]:
    """Milliseconds in which kernels of a step ran, and the dozen kernels that took most of them."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        bench.meter.seconds(lambda: ours.step(way))
    kernels = sorted(seen.key_averages(), key=lambda event: -event.self_device_time_total)
    busy = sum(event.self_device_time_total for event in kernels) / 1e3
    ran = [event for event in kernels if event.self_device_time_total]
    rows = [dict(what="busy", ms=busy, launches=sum(event.count for event in ran))]
    return rows + [
        dict(what=event.key[:90], ms=event.self_device_time_total / 1e3, launches=event.count) for event in kernels[:12]
    ]


def student(bench: Bench, model: nn.Module | None = None, **settings: Any) -> Student:
    """This project's student around the random network, not yet trainable."""
    limits = dict(max_prompt_tokens=4096, max_branch_tokens=512, max_context_tokens=4096)
    own = StudentSettings(model="nano", dtype=DTYPE, **limits, **settings)
    return Student(share(bench.base) if model is None else model, bench.own, own)


def generating(bench: Bench, add: Add) -> None:
    """Our way to write beside plain ``generate`` with a growing and with a static cache, on the same prompts."""
    rows, new = (4, 8) if bench.tiny else (16, 64)
    prompts = repeated(bench.batch(bench.setup(bench.prompts[-1])), rows)
    own, taught = student(bench), student(bench, bench.adapted().eval())
    how = DecodingSettings(max_new_tokens=new)
    written = own.write(prompts, how)
    cut = sum(answer.cut for row in written for answer in row)

    def libraries() -> None:
        with as_the_libraries(taught.model):
            taught.write(prompts, how)

    ways = {
        "student.write, with an adapter": lambda: taught.write(prompts, how),
        "student.write, with an adapter, libraries' layers": libraries,
        "student.write": lambda: own.write(prompts, how),
        "generate, static cache": lambda: _plain(own, prompts, new, "static"),
    }
    for name, way in ways.items():
        found = bench.meter.measure(way, bench.repeats)
        add(
            way=name,
            rows=rows,
            new_tokens=new,
            tokens_a_s=rows * new / found["median_s"],
            ms_a_token=1e3 * found["median_s"] / new,
            cut=cut,
            **found,
        )


@torch.no_grad()
def _plain(own: Student, prompts: Any, new: int, cache: str | None = None) -> Tensor:
    """The library's ``generate``, eager; no token ends an answer."""
    whole = Parts.of(own.model).whole
    how = generation.decoding(DecodingSettings(max_new_tokens=new), stop=[], pad=0)
    how.eos_token_id, how.cache_implementation, how.disable_compile = None, cache, True
    encode_images(Parts.of(own.model), prompts)
    with generation.only(whole, how):
        return whole.generate(
            **model_inputs(own.model, prompts, as_encoder_outputs(prompts.features)), generation_config=how
        )


def quantised(model: nn.Module) -> nn.Module:
    """The decoder's linear layers in NF4 with double quantisation, as `models.network.load_network` asks for; the
    other modules stay as they are. ``model`` is changed, its tensors are not.

    Raises:
        ImportError: bitsandbytes is not installed.
    """
    import bitsandbytes as bnb

    decoder = Parts.of(model).decoder
    for name, linear in [(n, m) for n, m in decoder.named_modules() if isinstance(m, nn.Linear)]:
        own = bnb.nn.Linear4bit(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            compute_dtype=linear.weight.dtype,
            compress_statistics=True,
            quant_type="nf4",
            device="meta",
        )
        kept = dict(requires_grad=False, quant_type="nf4", compress_statistics=True, module=own)
        own.weight = bnb.nn.Params4bit(linear.weight.detach(), **kept).to(linear.weight.device)
        own.bias = linear.bias
        decoder.set_submodule(name, own)
    model.is_loaded_in_4bit = True
    return model.requires_grad_(False)


def qlora(bench: Bench, add: Add) -> None:
    """A joint step over 4-bit weights, plain and with layers recomputed."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise NotHere("bitsandbytes is not installed")
    began = time.perf_counter()
    model = bench.adapted(quantised(share(bench.base)))
    took, size = time.perf_counter() - began, sum(p.numel() * p.element_size() for p in model.parameters()) / 1e9
    for prompt in bench.prompts:
        ours = bench.contender(bench.setup(prompt), model)
        for again in (True, False):
            checkpointing(model, again)
            found = bench.meter.measure(lambda ours=ours: ours.step("packed"), bench.repeats)
            add(
                way="packed_checkpointed" if again else "packed",
                prompt=prompt,
                model_gb=size,
                quantising_s=took,
                estimate_gb=planned_gb(ours, "packed"),
                **found,
            )
            ours.forget()


def compiled(bench: Bench, add: Add) -> None:
    """What `torch.compile` of MLPs and norms brings to a joint step; not a setting of this project. Attention is left
    out: it names its layer to the cache, and so would be compiled for each layer anew."""
    _on_gpu(bench)
    model = bench.adapted()
    for layer in Parts.of(model).decoder.layers:
        for part in (layer.mlp, layer.input_layernorm, layer.post_attention_layernorm):
            part.compile(dynamic=False)
    for prompt in bench.prompts:
        ours, began = bench.contender(bench.setup(prompt), model), time.perf_counter()
        found = bench.meter.measure(lambda ours=ours: ours.step("joint"), bench.repeats)
        add(way="joint, MLPs and norms compiled", prompt=prompt, whole_s=time.perf_counter() - began, **found)


def compiled_generation(bench: Bench, add: Add) -> None:
    """The student's way to write with `student.compiled_writing`, an adapter on it."""
    _on_gpu(bench)
    own = student(bench, bench.adapted().eval(), compiled_writing=True)
    prompts = repeated(bench.batch(bench.setup(bench.prompts[-1])), 16)
    new, began = 64, time.perf_counter()
    how = DecodingSettings(max_new_tokens=new)
    found = bench.meter.measure(lambda: own.write(prompts, how), bench.repeats)
    add(
        way="student.write, with an adapter, compiled",
        rows=16,
        new_tokens=new,
        tokens_a_s=16 * new / found["median_s"],
        ms_a_token=1e3 * found["median_s"] / new,
        whole_s=time.perf_counter() - began,
        **found,
    )


def _on_gpu(bench: Bench) -> None:
    if not bench.meter.on_gpu:
        raise NotHere("compiling for a CPU takes minutes and says nothing about a GPU")
