"""How an exported student is loaded with plain transformers, peft and vLLM: a part of its card."""

from __future__ import annotations

from apo_lightning import prompts
from apo_lightning.models.processor import load_config
from apo_lightning.using.chosen import Chosen
from apo_lightning.using.exported import Exported

PLAIN = """\
from PIL import Image
{imports}

{load}
processor = AutoProcessor.from_pretrained(folder)

question = {question!r}
image = Image.open("image.png").convert("L").convert("RGB")
turn = {{"role": "user", "content": [{{"type": "image", "image": image}}, {{"type": "text", "text": question}}]}}
inputs = processor.apply_chat_template(
    [turn], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
)
written = model.generate(**inputs)  # as generation_config.json says
print(processor.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0])
"""
BY_HAND = """\
from PIL import Image
{imports}

{load}
words, pixels = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)

question = {question!r}
image = Image.open("image.png").convert("L").convert("RGB")
seen = pixels(images=[image], return_tensors="pt")
turn = {{"role": "user", "content": [{{"type": "image"}}, {{"type": "text", "text": question}}]}}
prompt = words.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
places = int(seen["image_grid_thw"].prod()) // pixels.merge_size**2  # tokens that the image takes
inputs = words(prompt.replace("<|image_pad|>", "<|image_pad|>" * places, 1), return_tensors="pt")
inputs["mm_token_type_ids"] = (inputs["input_ids"] == model.config.image_token_id).long()
inputs.pop("token_type_ids", None)
written = model.generate(**inputs, **seen)  # as generation_config.json says
print(words.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
"""
"""For models whose processor needs torchvision for its videos, which these students do not see."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's --max-lora-rank may say."""


def text(chosen: Chosen, done: Exported, base: str | None) -> str:
    """Section "Use"."""
    question = prompts.render(chosen.cfg.prompt, chosen.findings)
    qwen = load_config(chosen.cfg.student.model).model_type.startswith("qwen")
    ways = {"With transformers 5" + (" and peft" if done.form == "adapter" else ""): (PLAIN, "AutoProcessor")}
    if qwen:
        ways["Without torchvision, which this model's `AutoProcessor` asks for"] = (
            BY_HAND,
            "AutoImageProcessor, AutoTokenizer",
        )
    load = _load(done, base, chosen)
    code = {
        way: words.format(imports=_imports(done, names), load=load, question=question).rstrip()
        for way, (words, names) in ways.items()
    }
    return "\n\n".join(
        [
            "## Use",
            *(f"{way}:\n\n{fenced(words, 'python')}" for way, words in code.items()),
            "Images are shown as 8-bit grey, upright; deeper ones stretched to 0..255.",
            "With vLLM:",
            fenced(_vllm(done, base) + _greedy(chosen), "bash"),
        ]
    )


def _imports(done: Exported, names: str) -> str:
    plain = f"from transformers import {', '.join(sorted(['AutoModelForImageTextToText', *names.split(', ')]))}"
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
