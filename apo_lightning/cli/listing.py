"""``apo list``: what an experiment can name, a sentence each."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from apo_lightning.console import Console, print_hanging
from apo_lightning.errors import ConfigError, did_you_mean

END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\"(])")
"""Between two sentences: a number, a version or an abbreviation in lower case goes on."""
SHORT = 300
"""Characters of a prompt that are shown, in whole sentences."""


def add(commands: argparse._SubParsersAction, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``list`` to the command line."""
    names = command(commands, "list", list_, "what can be named in an experiment, and the experiments")
    what = "a kind (losses, data, ...), or a data set, teacher, loss, callback or prompt: what it does, its settings"
    names.add_argument("name", nargs="?", help=what)


def list_(options: argparse.Namespace) -> None:
    """``apo list [NAME]``: a sentence for every member, of all kinds or of one, or all that one says of itself."""
    from apo_lightning import config
    from apo_lightning.config.registered import ANSWERED, SECTIONS
    from apo_lightning.metrics.report_text import TEXT_METRICS

    console, texts = Console(highlight=False), prompts()
    sections = [section for section in SECTIONS if section not in ANSWERED]  # those name the same data sets
    if any(options.name == section.attribute.lower() for section in sections):
        sections = [section for section in sections if section.attribute.lower() == options.name]
    elif options.name:
        _one(options.name, [*(section.registry() for section in sections), TEXT_METRICS], texts, console)
        return
    for section in sections:
        registry = section.registry()
        title = f"{section.attribute.lower()} ({'.'.join(section.pattern)})"
        members = {name: item for name, item in registry.items() if not item.__module__.startswith("lightning.")}
        show_group(title, {name: first_sentence(item) for name, item in members.items()}, console)
        if theirs := [name for name in registry if name not in members]:
            print_hanging(console, "  of Lightning: ", ", ".join(theirs))
    if options.name:
        return
    show_group(
        "text_metrics (evaluate.report_text)",
        {name: first_sentence(own) for name, own in TEXT_METRICS.items()},
        console,
    )
    show_group("prompts (prompt, evaluate.prompt, stages.self_distill.prompt)", texts, console)
    show_group("experiments", dict(config.list_experiments()), console)
    show_group("ready experiments (student/cards)", dict(config.list_ready()), console)
    show_group("presets (preset=NAME)", dict(config.list_experiments(config.EXPERIMENTS / "presets")), console)


def prompts() -> dict[str, str]:
    """Name to the words of every template, or to what is wrong with it; of a long one its first sentences."""
    from apo_lightning import prompts as templates

    found = {}
    for name in templates.names():
        try:
            found[name] = sentences(templates.load(name).template, SHORT)
        except ConfigError as error:
            found[name] = str(error)
    return found


def sentences(text: str, length: int = 0) -> str:
    """The first sentence, and as many more whole ones as fit into ``length`` characters.

    >>> sentences("MIMIC 2.0.0 or 2.1.0, in its splits. Once\\nmore.  And more.")
    'MIMIC 2.0.0 or 2.1.0, in its splits.'
    >>> sentences("One. Two. Three is longer.", 12)
    'One. Two.'
    """
    first, *others = END.split(" ".join(text.split()))
    for sentence in others:
        if len(first) + 1 + len(sentence) > length:
            break
        first = f"{first} {sentence}"
    return first


def show_group(title: str, members: Mapping[str, str], console: Console) -> None:
    """A heading, and below it every member with its text, as wide as the terminal is."""
    console.print(title, style="bold", markup=False)
    width = max(map(len, members), default=0)
    for name, text in sorted(members.items()):
        print_hanging(console, f"  {name:<{width}}  ", text)


def _one(name: str, registries: list[Mapping[str, Any]], texts: Mapping[str, str], console: Console) -> None:
    from apo_lightning.prompts import load

    known = [*(own for registry in registries for own in registry), *texts]
    if name not in known:
        raise ConfigError(f"Nothing is named '{name}'. {did_you_mean(name, known)}")
    told = [_whole(registry[name]) for registry in registries if name in registry]
    for text in [*told, *([load(name).template] if name in texts else [])]:
        console.print(text, markup=False, soft_wrap=True)


def first_sentence(item: type) -> str:
    """The first sentence that a class says of itself."""
    return plain(sentences((inspect.getdoc(item) or "").split("\n\n")[0]))


def plain(text: str) -> str:
    """Without the marks of reStructuredText and numbers of papers, which a terminal does not need.

    >>> plain("Self-consistency (arXiv 2203.11171) of ``n`` samples.")
    'Self-consistency of n samples.'
    """
    return re.sub(r" \(arXiv [\d.]+\)", "", text).replace("`", "")


def _whole(item: type) -> str:
    """What a class says of itself, and of the classes of ours that it extends the settings that it has from them."""
    packages = ("data_modules", "callbacks", "apo_lightning")
    extended = [cls for cls in item.__mro__[1:] if cls.__module__.split(".")[0] in packages and cls.__doc__]
    parts = [_settings(inspect.cleandoc(cls.__doc__ or "")) for cls in extended]
    own = inspect.cleandoc(item.__doc__ or "")
    return "\n\n".join([own, *(f"As all of its kind:\n{part}" for part in parts if part)])


def _settings(text: str) -> str:
    """The section on arguments of a docstring, without its head; "" where it has none."""
    found = re.search(r"^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)+)", text, re.M)
    return found[1].rstrip() if found else ""
