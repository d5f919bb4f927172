"""How an exported student is loaded with plain transformers, peft and vLLM: a part of its card."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

from PIL import Image
from torch import nn
from transformers import GenerationConfig

from apo_lightning import prompts
from apo_lightning.errors import ArtifactError, first_line
from apo_lightning.models.processor import load_config
from apo_lightning.using.chosen import Chosen
from apo_lightning.using.exported import Exported

PLAIN = """\
processor = AutoProcessor.from_pretrained(folder)

turn = {{"role": "user", "content": [{{"type": "image", "image": image}}, {{"type": "text", "text": question}}]}}
inputs = processor.apply_chat_template(
    [turn], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
).to(model.device)
{check}
written = model.generate(**inputs)  # as generation_config.json says
print(processor.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
"""
BY_HAND = """\
words, pixels = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)

seen = pixels(images=[image], return_tensors="pt")
turn = {{"role": "user", "content": [{{"type": "image"}}, {{"type": "text", "text": question}}]}}
prompt = words.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
places = int(seen["image_grid_thw"].prod()) // pixels.merge_size**2  # tokens that the image takes
inputs = words(prompt.replace("<|image_pad|>", "<|image_pad|>" * places, 1), return_tensors="pt")
inputs["mm_token_type_ids"] = (inputs["input_ids"] == model.config.image_token_id).long()
inputs.pop("token_type_ids", None)
inputs = {{name: value.to(model.device) for name, value in {{**inputs, **seen}}.items()}}
{check}
assert inputs["mm_token_type_ids"].sum() == places, "the image has no place in the prompt"
written = model.generate(**inputs)  # as generation_config.json says
print(words.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
"""
"""With and without torchvision, which the processor of these models needs for videos, and they see none."""
CHECK = 'assert "pixel_values" in inputs, "the model would answer without having seen the image"'
SHORTER = (
    "Shorter, where torchvision is installed (without it `AutoProcessor` of this model cannot be built, or gives a "
    "tokenizer that leaves the image out). The last lines are then:"
)
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's --max-lora-rank may say."""


def text(chosen: Chosen, done: Exported, base: str | None) -> str:
    """Section "Use"."""
    plain = PLAIN.format(check=CHECK).rstrip()
    second = ""
    if _by_hand(chosen):
        short = f"from transformers import AutoProcessor\n\n{plain}"
        second = f"\n\n{SHORTER}\n\n{fenced(short, 'python')}"
    way = "With transformers 5" + (" and peft" if done.form == "adapter" else "")
    return "\n\n".join(
        [
            "## Use",
            f"{way}:\n\n{fenced(lines(chosen, done, base), 'python')}{second}",
            "Images are shown as 8-bit grey, upright; deeper ones stretched to 0..255.",
            "With vLLM:",
            fenced(_vllm(done, base) + _greedy(chosen), "bash"),
        ]
    )


def lines(chosen: Chosen, done: Exported, base: str | None) -> str:
    """The program that a reader copies: it loads the student, and asks it of ``image.png``."""
    question = prompts.render(chosen.cfg.prompt, chosen.findings)
    return "\n".join(
        [
            "from PIL import Image",
            _imports(done, _names(chosen)),
            "",
            _load(done, base, chosen),
            f"question = {question!r}",
            'image = Image.open("image.png").convert("L").convert("RGB")',
            asking(chosen),
        ]
    )


def asking(chosen: Chosen) -> str:
    """Its second part, which asks ``model`` the ``question`` of ``image`` with what lies in ``folder``."""
    return (BY_HAND if _by_hand(chosen) else PLAIN).format(check=CHECK).rstrip()


def answered(chosen: Chosen, model: nn.Module, folder: Path, image: Image.Image) -> str:
    """What that part prints, run as it stands with what lies in the folder.

    Args:
        model: the exported network, which the first part would read from the folder.
        image: PIL mode ``L``.

    Raises:
        ArtifactError: it does not run, or the model would not see the image.
    """
    model.generation_config = GenerationConfig.from_pretrained(folder, trust_remote_code=False)
    known = {"model": model, "folder": str(folder), "image": image.convert("RGB")}
    known["question"] = prompts.render(chosen.cfg.prompt, chosen.findings)
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            exec(f"from transformers import {_names(chosen)}\n{asking(chosen)}", known)  # our own words, no one else's
    except Exception as error:
        raise ArtifactError(f"The lines of the card do not run on {folder}: {first_line(error)}") from error
    return said.getvalue().strip()


def _names(chosen: Chosen) -> str:
    return "AutoImageProcessor, AutoTokenizer" if _by_hand(chosen) else "AutoProcessor"


def _by_hand(chosen: Chosen) -> bool:
    return load_config(chosen.cfg.student.model).model_type.startswith("qwen")


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
