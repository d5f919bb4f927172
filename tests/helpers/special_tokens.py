"""Students whose tokenizers know many special and added tokens, of every kind there is, and texts that hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from apo_lightning.models.processor import load_processor
from apo_lightning.nano.parts import WORDS
from tests.helpers import students

NAMES = (
    "<s>",
    "</s>",
    "<pad>",
    "<unk>",
    "<bos>",
    "<eos>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<image>",
    "<video>",
    "<img>",
    "</img>",
    "<IMG_CONTEXT>",
    "<image_soft_token>",
    "<start_of_image>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<fake_token_around_image>",
    "<global-img>",
    "<row_1_col_1>",
    "<end_of_utterance>",
    "<|im_start|>",
    "<|im_end|>",
    "<|image_pad|>",
    "<|vision_start|>",
    "<|eot_id|>",
    "<|placeholder|>",
    "<placeholder>",
    "a<|b",
)
"""Special in one family or another."""
ODD = (
    AddedToken("<tool_call>", special=False, normalized=False),
    AddedToken("<think>", special=False, normalized=False),
    AddedToken("<Na\u00efve>", special=False, normalized=True),
    AddedToken("<\u00e9nd>", special=True, normalized=True),
    AddedToken("<left>", special=True, lstrip=True),
    AddedToken("<right>", special=True, rstrip=True),
    AddedToken("<both>", special=False, lstrip=True, rstrip=True),
    AddedToken("<word>", special=True, single_word=True),
    AddedToken("{{ eos }}", special=True),
    AddedToken(" <led by a space>", special=True, normalized=False),
    AddedToken("<image>]", special=True),
    AddedToken("ENDE!", special=True),
)
"""What a tokenizer can ask of an added token: whitespace taken along, words alone, a normal form."""
MORE = (*(AddedToken(name, special=True, normalized=False) for name in NAMES), *ODD)
PLAIN = "No edema. Small left effusion."


def processor(family: str, folder: Path) -> Any:
    """The processor of a family's tiny student, with `MORE` in its vocabulary."""
    return load_processor(str(students.save_processor(folder, family, MORE)))


def texts(tokens: Sequence[str]) -> Iterator[str]:
    """Texts that hold ``tokens``: alone, in words, twice, one in the other, in other letters, all of them."""
    for token in tokens:
        yield token
        yield f"No edema.{token}Small {token} left effusion{token} "
        yield f"{token}{token} <{token}> {token[:-1]}{token}{token[1:]}"
        yield f"{token.upper()} {token.lower()} {token.swapcase()}"
        yield f"Na\u00efve {token.replace(chr(0xE9), 'e' + chr(0x301)).replace(chr(0xEF), 'i' + chr(0x308))}"
    yield "".join(tokens)
    yield " ".join(reversed(tokens))


def vocabularies() -> dict[str, PreTrainedTokenizerFast]:
    """Tokenizers as other families have them, by what is theirs: bytes, words with their space in front, a token before
    each text; in all of them ordinary pieces join to ``</s>``."""
    space, split = normalizers.Replace(" ", SPACE), pre_tokenizers.Split(Regex(WORDS), "isolated")
    level = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    metaspace = pre_tokenizers.Metaspace
    return {
        "byte-level": _made(_bpe(level=True), normalizers.NFC(), level, decoders.ByteLevel()),
        "lower case": _made(_bpe(level=True), normalizers.Lowercase(), level, decoders.ByteLevel()),
        "compatibility": _made(_bpe(level=True), normalizers.NFKC(), level, decoders.ByteLevel()),
        "prepended": _made(_bpe(), normalizers.Sequence([normalizers.Prepend(SPACE), space]), None, _joined(1)),
        "metaspace": _made(_bpe(), None, metaspace(prepend_scheme="first", split=False), _joined(1)),
        "metaspace, each": _made(_bpe(), None, metaspace(prepend_scheme="always"), _joined(1)),
        "gemma": _made(_bpe(), space, pre_tokenizers.Split(" ", "merged_with_previous"), _joined(0)),
        "unigram": _made(_unigram(), None, metaspace(prepend_scheme="first"), _joined(1)),
    }


SPACE = "\u2581"
FIRST = ("<unk>", "<s>", "</s>")
MERGES = [("N", "o"), ("e", "d"), ("<", "/"), ("</", "s"), ("</s", ">"), ("<", "s"), ("<s", ">")]


def _bpe(level: bool = False) -> models.BPE:
    """Bytes as characters of their own, or letters with bytes for what is none of them."""
    bytes_ = pre_tokenizers.ByteLevel.alphabet() if level else [f"<0x{byte:02X}>" for byte in range(256)]
    letters = () if level else (*map(chr, range(33, 127)), SPACE)
    vocabulary = dict.fromkeys((*FIRST, *sorted(bytes_), *letters, *("".join(pair) for pair in MERGES)))
    ids = {token: i for i, token in enumerate(vocabulary)}
    return models.BPE(ids, MERGES, unk_token="<unk>", byte_fallback=not level, fuse_unk=True)


def _unigram() -> models.Unigram:
    scored = [*((name, -1.0) for name in FIRST), *((chr(i), -5.0) for i in range(33, 127)), (SPACE, -3.0)]
    return models.Unigram(scored, unk_id=0, byte_fallback=False)


def _joined(strip: int) -> decoders.Decoder:
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*steps, *([decoders.Strip(" ", strip, 0)] if strip else [])])


def _made(model: Any, normalizer: Any, pre_tokenizer: Any, decoder: Any) -> PreTrainedTokenizerFast:
    made = Tokenizer(model)
    made.decoder = decoder
    if normalizer is not None:
        made.normalizer = normalizer
    if pre_tokenizer is not None:
        made.pre_tokenizer = pre_tokenizer
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    words = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )
    words.add_tokens(list(MORE))
    return words
