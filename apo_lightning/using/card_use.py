"""How an exported student is loaded with plain transformers, peft and vLLM: a part of its card."""

from __future__ import annotations

from apo_lightning import prompts
from apo_lightning.using.chosen import Chosen
from apo_lightning.using.exported import Exported

PLAIN = """\
from PIL import Image
{imports}

{load}
processor = AutoProcessor.from_pretrained(folder)  # Qwen's asks for torchvision

question = {question!r}
image = Image.open("image.png").convert("L").convert("RGB")
turn = {{"role": "user", "content": [{{"type": "image", "image": image}}, {{"type": "text", "text": question}}]}}
inputs = processor.apply_chat_template(
    [turn], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
)
written = model.generate(**inputs)  # as generation_config.json says
print(processor.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0])
"""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's --max-lora-rank may say."""


def text(chosen: Chosen, done: Exported, base: str | None) -> str:
    """Section "Use"."""
    question = prompts.render(chosen.cfg.prompt, chosen.findings)
    code = PLAIN.format(imports=_imports(done), load=_load(done, base, chosen), question=question)
    return "\n\n".join(
        [
            "## Use",
            "With transformers 5" + (" and peft:" if done.form == "adapter" else ":"),
            fenced(code.rstrip(), "python"),
            "Images are shown as 8-bit grey, upright; deeper ones stretched to 0..255. Without torchvision, take "
            "`AutoTokenizer` and `AutoImageProcessor` of this folder by name.",
            "With vLLM:",
            fenced(_vllm(done, base) + _greedy(chosen), "bash"),
        ]
    )


def _imports(done: Exported) -> str:
    plain = "from transformers import AutoModelForImageTextToText, AutoProcessor"
    return f"from peft import PeftModel\n{plain}" if done.form == "adapter" else plain


def _load(done: Exported, base: str | None, chosen: Chosen) -> str:
    lines = ['folder = "."  # where this card lies']
    if done.form == "merged":
        return "\n".join([*lines, "model = AutoModelForImageTextToText.from_pretrained(folder)"])
    under = repr(base) if base else 'f"{folder}/base"'
    bits = ""
    if chosen.cfg.student.adapter.kind == "qlora":
        lines.append(
            "from transformers import BitsAndBytesConfig\n"
            'four = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)'
            "  # as in training"
        )
        bits = ", quantization_config=four"
    dtype = chosen.cfg.student.dtype
    lines.append(f'model = AutoModelForImageTextToText.from_pretrained({under}, dtype="{dtype}"{bits})')
    lines.append("model = PeftModel.from_pretrained(model, folder)")
    lines.append("model.generation_config = GenerationConfig.from_pretrained(folder)")
    lines.insert(0, "from transformers import GenerationConfig")
    return "\n".join(lines)


def _vllm(done: Exported, base: str | None) -> str:
    if done.form == "merged":
        return "vllm serve ."
    rank = next((rank for rank in RANKS if rank >= done.rank), RANKS[-1])
    return f"vllm serve {base or './base'} --enable-lora --max-lora-rank {rank} --lora-modules student=."


def _greedy(chosen: Chosen) -> str:
    """vLLM draws at temperature 1 where generation_config.json names none, and a greedy one may not."""
    return "" if chosen.cfg.evaluate.sample else " --override-generation-config '{\"temperature\": 0}'"


def fenced(words: str, language: str = "text") -> str:
    """A block of code; its fence is longer than any inside."""
    fence = "```"
    while fence in words:
        fence += "`"
    return f"{fence}{language}\n{words}\n{fence}"
