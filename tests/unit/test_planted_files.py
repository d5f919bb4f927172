"""A planted file runs nothing: in each place where this project reads a file that some program could make run code.

``docs/security.md`` lists the readers; every row there names tests, and this file has most of them.
"""

from __future__ import annotations

import ast
import importlib
import io
import json
import pickle
import re
import shutil
import sqlite3
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch
import yaml
from conftest import ROOT
from PIL import Image
from torch import nn
from torch.distributed import checkpoint as sharded

from apo_lightning import config, prompts, reports
from apo_lightning.caches.tensor_store import TensorStore
from apo_lightning.errors import ArtifactError, ConfigError, DataError
from apo_lightning.experiment import checkpoints, run_folder, shard_files
from apo_lightning.files import formats
from apo_lightning.hashing import contents
from apo_lightning.models import adapters, network, student
from apo_lightning.models.processor import load_config, load_processor
from apo_lightning.models.sizes import count_on_meta
from apo_lightning.settings import StudentSettings
from data_modules.archives import report_archives
from data_modules.images.cache import DiskCache
from data_modules.images.transforms import read_radiograph
from data_modules.tables import Faults, read_table
from tests.helpers import fake_run, tiny


class Deadly:
    """A pickle that touches a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a payload would make; it is there at the end of no test, and nobody was asked on the terminal."""

    def asked(*args: Any) -> str:
        raise AssertionError("a file had the user asked on the terminal")

    monkeypatch.setattr("builtins.input", asked)
    place = tmp_path / "ran"
    yield place
    assert not place.exists(), "the planted file ran"


def test_the_payload_is_one(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Deadly(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


# checkpoints: a file, and a folder of shards


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.free = nn.Linear(2, 1)


def shards(place: Path, **more: Any) -> Path:
    whole = {"state_dict": Tiny().state_dict(), **more}
    sharded.save(whole, checkpoint_id=place, no_dist=True)
    rest = dict(global_step=4, epoch=0, loops={}, callbacks={}, lr_schedulers=[])
    torch.save(rest, place / "meta.pt")
    return place


def test_a_pickle_in_a_checkpoint(tmp_path: Path, marker: Path) -> None:
    place = tmp_path / "checkpoints"
    place.mkdir()
    torch.save({"state_dict": {"free.weight": Deadly(marker)}}, place / "step=4.ckpt")
    found, problems = checkpoints.newest(place, Tiny())
    assert found is None and "step=4.ckpt cannot be continued from (" in problems[0]


@pytest.mark.parametrize("file", [".metadata", "meta.pt", "__0_0.distcp"])
def test_a_pickle_in_the_place_of_a_part_of_a_sharded_checkpoint(tmp_path: Path, marker: Path, file: str) -> None:
    place = shards(tmp_path / "checkpoints" / "step=4.ckpt")
    assert checkpoints.newest(place.parent, Tiny()) == (place, [])
    (place / file).write_bytes(pickle.dumps(Deadly(marker)))
    found, problems = checkpoints.newest(place.parent, Tiny())
    assert found is None and "step=4.ckpt cannot be continued from (" in problems[0]


def test_a_pickle_inside_of_an_index_of_shards(tmp_path: Path, marker: Path) -> None:
    """In its planner's data, where torch itself allows anything."""
    place = shards(tmp_path / "checkpoints" / "step=4.ckpt")
    index = pickle.loads((place / ".metadata").read_bytes())
    index.planner_data["x"] = Deadly(marker)
    (place / ".metadata").write_bytes(pickle.dumps(index))
    found, problems = checkpoints.newest(place.parent, Tiny())
    assert found is None and re.search(r"it names (pathlib.Path.touch|builtins.getattr), which no index", problems[0])
    with pytest.raises(sharded.CheckpointException, match=r"nothing of it was run"):
        sharded.load({"state_dict": Tiny().state_dict()}, storage_reader=shard_files.SafeReader(place), no_dist=True)


GLOBALS = (
    "os.system",
    "posix.system",
    "builtins.eval",
    "builtins.getattr",
    "torch.load",
    "torch.hub.load",
    "torch.serialization.load",
    "subprocess.Popen",
    "torch.distributed.checkpoint.metadata.os",
    "torch.distributed.checkpoint.filesystem.pickle",
    "pathlib.os",
    "torch._utils._rebuild_tensor",
)


@pytest.mark.parametrize("name", GLOBALS)
@pytest.mark.parametrize("protocol", [0, 4])
def test_an_index_of_shards_names_torchs_records_alone(name: str, protocol: int) -> None:
    module, _, attribute = name.rpartition(".")
    named = f"c{module}\n{attribute}\n.".encode()
    if protocol == 4:
        words = (b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, attribute))
        named = b"\x80\x04" + b"".join(words) + b"\x93."
    with pytest.raises(pickle.UnpicklingError, match=re.escape(f"it names {name}")):
        shard_files._Index(io.BytesIO(named)).load()
    dotted = b"\x80\x04\x8c\x05torch\x8c\x0ehub.load_state\x93."
    with pytest.raises(pickle.UnpicklingError):
        shard_files._Index(io.BytesIO(dotted)).load()


def test_a_pickle_in_a_shard(tmp_path: Path, marker: Path) -> None:
    """What is no tensor is read by the planner, and torch's reads it without restriction."""
    place = shards(tmp_path / "checkpoints" / "step=4.ckpt", extra=Deadly(marker))
    found, problems = checkpoints.newest(place.parent, Tiny())
    assert found is None and "it holds something else than tensors and plain values, getattr: not loaded" in problems[0]
    how = dict(storage_reader=shard_files.SafeReader(place), planner=shard_files.SafePlanner(), no_dist=True)
    with pytest.raises(sharded.CheckpointException):
        sharded.load({"state_dict": Tiny().state_dict(), "extra": 0}, **how)
    with pytest.raises(ArtifactError, match=r"step=4\.ckpt cannot be continued from \(.*\)\. Remove it .*: rm -r "):
        shard_files.load_safely({"state_dict": Tiny().state_dict(), "extra": 0}, place)


def test_shards_give_back_what_was_saved(tmp_path: Path) -> None:
    extra = {"lr": [0.1, (1, 2)], "name": "adam", "flag": True, "none": None}
    place = shards(tmp_path / "step=4.ckpt", extra=extra, half=torch.ones(3, dtype=torch.bfloat16))
    back = {
        "state_dict": Tiny().state_dict(),
        "extra": {"lr": [0.0, 0], "name": "", "flag": 0, "none": 1},
        "half": torch.zeros(3, dtype=torch.bfloat16),
    }
    shard_files.load_safely(back, place)
    plain = {
        "state_dict": Tiny().state_dict(),
        "extra": {"lr": [0.0, 0], "name": "", "flag": 0, "none": 1},
        "half": torch.zeros(3, dtype=torch.bfloat16),
    }
    sharded.load(plain, checkpoint_id=place, no_dist=True)
    assert back["extra"] == plain["extra"] == extra and back["half"].tolist() == [1.0, 1.0, 1.0]
    assert back["state_dict"]["free.weight"].equal(plain["state_dict"]["free.weight"])


def test_an_index_leads_to_files_of_its_folder_alone(tmp_path: Path) -> None:
    place = shards(tmp_path / "checkpoints" / "step=4.ckpt")
    index = pickle.loads((place / ".metadata").read_bytes())
    (tmp_path / "secret").write_bytes((place / "__0_0.distcp").read_bytes())
    for info in index.storage_data.values():
        info.relative_path = "../../secret"
    (place / ".metadata").write_bytes(pickle.dumps(index))
    found, problems = checkpoints.newest(place.parent, Tiny())
    assert found is None and "names ../../secret, which is not in the folder" in problems[0]


# students: adapters, models, tokenizers


def adapter(folder: Path, **settings: Any) -> Path:
    folder.mkdir(parents=True)
    own = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"], "bias": "none", **settings}
    (folder / "adapter_config.json").write_text(json.dumps(own))
    return folder


def test_a_pickle_in_the_place_of_an_adapters_tensors(tmp_path: Path, marker: Path) -> None:
    folder = adapter(tmp_path / "student" / "adapters" / "0")
    torch.save({"base.lora_A.weight": Deadly(marker)}, folder / "adapter_model.bin")
    with pytest.raises(ArtifactError, match=r"adapters/0 cannot be read"):
        adapters.read_adapter(folder)
    (folder / "adapter_model.safetensors").write_bytes(pickle.dumps(Deadly(marker)))
    with pytest.raises(ArtifactError, match=r"adapters/0 cannot be read"):
        adapters.read_adapter(folder)
    (tmp_path / "student" / "student.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"adapter_model\.safetensors cannot be read"):
        student.read_record(tmp_path / "student")


def test_an_adapter_that_names_a_module(tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PEFT imports what an adapter's ``megatron_core`` names, and ``auto_mapping`` a library."""
    (tmp_path / "planted_module.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    named = dict(
        megatron_config={"a": 1},
        megatron_core="planted_module",
        auto_mapping={"base_model_class": "X", "parent_library": "planted_module"},
    )
    folder = adapter(tmp_path / "a", **named)
    save = {"base_model.model.q_proj.lora_A.weight": torch.ones(2, 2)}
    network_file = folder / "adapter_model.safetensors"
    from safetensors.torch import save_file

    save_file(save, network_file)
    with pytest.raises(ArtifactError, match="no plain LoRA adapter"):
        adapters.read_adapter(folder)
    assert "planted_module" not in sys.modules


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny.folder(tmp_path_factory.mktemp("model") / "nano"))


EVIL = """
open({marker!r}, "w").close()
class EvilConfig: pass
class EvilModel: pass
class EvilTokenizer: pass
class EvilProcessor: pass
"""
AUTO = {
    "config.json": {"AutoConfig": "evil.EvilConfig", "AutoModelForImageTextToText": "evil.EvilModel"},
    "tokenizer_config.json": {"AutoTokenizer": ["evil.EvilTokenizer", "evil.EvilTokenizer"]},
    "preprocessor_config.json": {"AutoImageProcessor": "evil.EvilProcessor", "AutoProcessor": "evil.EvilProcessor"},
    "processor_config.json": {"AutoProcessor": "evil.EvilProcessor"},
}


def planted(model: Path, folder: Path, marker: Path, file: str, **more: Any) -> Path:
    """A copy of a model folder whose ``file`` names classes of a Python file beside it."""
    shutil.copytree(model, folder)
    (folder / "evil.py").write_text(EVIL.format(marker=str(marker)))
    path = folder / file
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, "auto_map": AUTO[file], **more}))
    return folder


@pytest.mark.parametrize("foreign", [False, True], ids=["known type", "unknown type"])
@pytest.mark.parametrize("file", AUTO)
def test_a_model_folder_that_brings_python(tmp_path: Path, model: Path, marker: Path, file: str, foreign: bool) -> None:
    """A known model is read by the library's own classes, an unknown one is refused; nobody is asked."""
    names = {
        "config.json": {"model_type": "evil"},
        "tokenizer_config.json": {"tokenizer_class": "EvilTokenizer"},
        "preprocessor_config.json": {"image_processor_type": "EvilProcessor"},
        "processor_config.json": {"processor_class": "EvilProcessor"},
    }[file]
    folder = planted(model, tmp_path / "m", marker, file, **(names if foreign else {}))
    own = StudentSettings(model=str(folder))
    for read in (load_config, load_processor, lambda _: count_on_meta(own), lambda _: network.load_network(own)):
        try:
            read(str(folder))
        except ConfigError as error:
            assert str(folder) in str(error) and "\n" not in str(error)


def test_a_pickle_of_weights(tmp_path: Path, model: Path, marker: Path) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "m"))
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    torch.save({"lm_head.weight": Deadly(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="could not be loaded"):
        network.load_network(StudentSettings(model=str(folder)))


def test_a_chat_template_that_reaches_for_python(tmp_path: Path, model: Path, marker: Path) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "m"))
    for path in folder.glob("chat_template*"):
        path.unlink()
    reach = "{{ cycler.__init__.__globals__.os.system('touch %s') }}{{ ''.__class__.__mro__[1].__subclasses__() }}"
    words = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**words, "chat_template": reach % marker}))
    processor = load_processor(str(folder))
    with pytest.raises(Exception, match=r"unsafe|undefined|access"):
        processor.apply_chat_template([{"role": "user", "content": [{"type": "text", "text": "x"}]}], tokenize=False)


# caches and stores


def test_a_pickle_in_the_cache_of_images(tmp_path: Path, marker: Path) -> None:
    Image.new("L", (4, 4), 9).save(tmp_path / "a.png")
    cache = DiskCache(tmp_path / "cache", None)
    cache(str(tmp_path / "a.png"))
    [entry] = (tmp_path / "cache").rglob("*.pt")
    torch.save(Deadly(marker), entry)
    assert cache(str(tmp_path / "a.png")).getpixel((0, 0)) == 9
    entry.write_bytes(pickle.dumps(Deadly(marker)))
    assert cache(str(tmp_path / "a.png")).getpixel((0, 0)) == 9


def test_a_pickle_and_a_trigger_in_a_store_of_tensors(tmp_path: Path, marker: Path) -> None:
    store = TensorStore(tmp_path / "s.sqlite", {"of": "x"})
    store.put_many([(b"k", {"t": torch.ones(1)})])
    store.close()
    with sqlite3.connect(tmp_path / "s.sqlite") as file:
        file.execute("UPDATE rows SET value = ?", (pickle.dumps(Deadly(marker)),))
        file.execute("CREATE TRIGGER t AFTER INSERT ON rows BEGIN SELECT load_extension('/tmp/x'); END")
    with pytest.raises(ArtifactError, match="is damaged"):
        TensorStore(tmp_path / "s.sqlite", {"of": "x"}).get_many([b"k"])
    with pytest.raises(ArtifactError, match="rm"):
        TensorStore(tmp_path / "s.sqlite", {"of": "x"}).put_many([(b"l", {"t": torch.ones(1)})])
    (tmp_path / "p.sqlite").write_bytes(pickle.dumps(Deadly(marker)))
    with pytest.raises(ArtifactError, match="is not a store of tensors"):
        TensorStore(tmp_path / "p.sqlite", {"of": "x"})


def test_a_pickle_in_the_place_of_json(tmp_path: Path, marker: Path) -> None:
    for name in ("manifest.json", "scores.json", "digests.json"):
        (tmp_path / name).write_bytes(pickle.dumps(Deadly(marker)))
    with pytest.raises(ArtifactError, match="missing or damaged"):
        formats.read_json(tmp_path / "scores.json")
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
        run_folder.inventory.read(tmp_path)
    (tmp_path / "m").mkdir()
    contents.remembered_digest(tmp_path / "m", tmp_path / "digests.json")


# settings and prompts

OBJECTS = (
    "!!python/object/apply:pathlib.Path.touch [{}]",
    "!!python/object/new:os.system ['touch {}']",
    "!!python/name:os.system",
    "!!python/module:os",
    "&a !!python/object/apply:os.system ['{}']",
)


@pytest.mark.parametrize("text", OBJECTS)
def test_an_experiment_that_names_python_objects(tmp_path: Path, marker: Path, text: str) -> None:
    evil = text.format(marker)
    (tmp_path / "e.yaml").write_text(f"# An experiment.\nname: x\ndata: {evil}\n")
    with pytest.raises(ConfigError):
        config.load(tmp_path / "e.yaml")
    with pytest.raises(ConfigError):
        config.load(ROOT / "experiments" / "smoke.yaml", [f"name={evil}"])
    (tmp_path / "config.yaml").write_text(f"name: {evil}\n")
    with pytest.raises(ArtifactError, match=r"config\.yaml is damaged"):
        run_folder._held(tmp_path / "config.yaml")
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load(evil)


def test_a_text_is_no_template(tmp_path: Path) -> None:
    """Neither of a prompt nor of a report."""
    asked = prompts.render("reconcile", reports=["$findings ${x} {{ 7 * 7 }}", "b"])
    assert "$findings ${x} {{ 7 * 7 }}" in asked
    folder = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=2, teacher_text="{{ 7 * 7 }} {% x %}")
    reports.write(folder)
    assert "{{ 7 * 7 }} {% x %}" in (folder / "report.html").read_text()


# tables, archives, images


def test_a_pickle_in_a_table(tmp_path: Path, marker: Path) -> None:
    """As the whole file, and in the metadata of a Parquet file, where old versions of pyarrow looked for a type."""
    payload = pickle.dumps(Deadly(marker))
    for name in ("t.csv", "t.csv.gz", "t.tsv", "t.parquet"):
        (tmp_path / name).write_bytes(payload)
        with pytest.raises(DataError):
            read_table(tmp_path / name, {"study": "study"}, Faults())
    types = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": payload}
    field = pyarrow.field("study", pyarrow.string(), metadata=types)
    table = pyarrow.table([["s1"]], schema=pyarrow.schema([field], metadata={b"pandas": payload}))
    pyarrow.parquet.write_table(table, tmp_path / "u.parquet")
    try:
        assert list(read_table(tmp_path / "u.parquet", {"study": "study"}, Faults())["study"]) == ["s1"]
    except DataError as error:
        assert "u.parquet" in str(error)


def test_archives_are_read_where_they_lie(tmp_path: Path, marker: Path) -> None:
    """Nothing is unpacked: names that leave the folder, links and devices write nothing and are not followed."""
    secret = tmp_path / "secret.xml"
    secret.write_text("<a>secret</a>")
    with tarfile.open(tmp_path / "r.tgz", "w:gz") as archive:
        for name, kind, target in (
            ("l.xml", tarfile.SYMTYPE, str(secret)),
            ("h.xml", tarfile.LNKTYPE, str(secret)),
            ("d.xml", tarfile.CHRTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
        content = b"<eCitation/>"
        member = tarfile.TarInfo(f"../../{marker.name}.xml")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    before = sorted(tmp_path.rglob("*"))
    assert list(report_archives.archived(tmp_path / "r.tgz")) == [(f"{marker.name}.xml", content)]
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr(f"../{marker.name}", "x")
    report_archives.refuse_large_zip(tmp_path / "z.zip")
    assert sorted(tmp_path.rglob("*")) == [*before, tmp_path / "z.zip"]
    (tmp_path / "p.tgz").write_bytes(pickle.dumps(Deadly(marker)))
    with pytest.raises(DataError, match=r"p\.tgz"):
        list(report_archives.archived(tmp_path / "p.tgz"))


@pytest.mark.parametrize(
    "xml",
    [
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file://{secret}">]><a>&x;</a>',
        '<!DOCTYPE a SYSTEM "file://{secret}"><a/>',
        '<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><a>&b;</a>',
    ],
)
def test_xml_that_fetches_or_grows(tmp_path: Path, xml: str) -> None:
    (tmp_path / "secret").write_text("SECRET")
    faults = Faults()
    assert report_archives.parse(xml.format(secret=tmp_path / "secret").encode(), "r.xml", faults) is None
    assert "document type definition" in faults[0][1]


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.eps", "a.dcm"])
@pytest.mark.parametrize("kind", ["pickle", "postscript", "mvg"])
def test_an_image_that_is_a_program(tmp_path: Path, marker: Path, name: str, kind: str) -> None:
    """Pillow would hand PostScript to Ghostscript."""
    postscript = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    content = {
        "pickle": pickle.dumps(Deadly(marker)),
        "postscript": f"{postscript}(%pipe%touch {marker}) (w) file\n".encode(),
        "mvg": f"push graphic-context\nimage over 0,0 0,0 'https://x|touch {marker}'\n".encode(),
    }[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(name)):
        read_radiograph(tmp_path / name)


# what is not here yet: a new reader is found by its call

SAFE = {"from_pretrained": "trust_remote_code", "from_config": "trust_remote_code", "load": "weights_only"}
UNMEASURED = re.compile(r"\byaml\.safe_load\b|OmegaConf\.load\((?!io\.StringIO)")
"""A kilobyte of YAML can become a terabyte: `files.yaml_files` measures it first."""
WHOLE = ("PeftConfig",)
"""Reads JSON; its class has no such argument."""
BANNED = re.compile(
    r"\b(pickle\.loads?|marshal\.|shelve\.|joblib|cloudpickle|dill|np\.load|numpy\.load|yaml\.(unsafe_|full_)?load\b|"
    r"eval\(|exec\(|extractall|os\.system|shell=True|read_pickle|trust_remote_code=True|weights_only=False)"
)


def sources() -> list[Path]:
    return sorted(
        path
        for room in ("apo_lightning", "data_modules", "callbacks", "benchmarks")
        for path in (ROOT / room).rglob("*.py")
    )


def unsafe(tree: ast.AST) -> list[str]:
    found = []
    for call in (
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ):
        owner, name = ast.unparse(call.func.value), call.func.attr
        if name not in SAFE or owner in WHOLE or (name == "load" and owner != "torch"):
            continue
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        if given.get(SAFE[name]) != ("True" if name == "load" else "False"):
            found.append(f"line {call.lineno}: {owner}.{name} without {SAFE[name]}")
    return found


OWN_CODE = {"apo_lightning/using/card_use.py": ["exec("]}
"""Files that run a text of their own: an export tries the constant lines that its card prints."""


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_reader_is_told_to_run_nothing(path: Path) -> None:
    text = path.read_text("utf-8")
    assert unsafe(ast.parse(text)) == []
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    allowed, name = ("benchmarks/",), str(path.relative_to(ROOT))
    found = [m[0] for m in BANNED.finditer(code) if not re.search(rf"\.{re.escape(m[0])}", code)]
    found += UNMEASURED.findall(code)
    assert found == OWN_CODE.get(name, []) or name.startswith(allowed), found


def test_the_walk_itself() -> None:
    assert len(unsafe(ast.parse("torch.load(x)\nA.from_pretrained(x, trust_remote_code=None)\nA.from_config(c)"))) == 3
    assert unsafe(ast.parse("torch.load(x, weights_only=True)\nA.from_pretrained(x, trust_remote_code=False)")) == []


SECURITY = (ROOT / "docs" / "security.md").read_text("utf-8")
OPENS = {
    ("torch", "load"),
    ("OmegaConf", "load"),
    ("yaml_files", "load"),
    ("yaml_files", "read_text"),
    ("sqlite3", "connect"),
    ("Image", "open"),
    ("tarfile", "open"),
    ("pyarrow.parquet", "ParquetFile"),
}


@pytest.mark.parametrize(("file", "test"), sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", SECURITY))))
def test_what_holds_a_row_is_a_test(file: str, test: str) -> None:
    assert callable(getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), test, None))


def readers() -> set[str]:
    """Files of the library that open what may come from elsewhere with a library that could run it."""
    found = set()
    for path in (path for path in sources() if path.parts[-2] != "benchmarks"):
        calls = (node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
        named = {(ast.unparse(call.value), call.attr) for call in calls if isinstance(call, ast.Attribute)}
        if named & OPENS or any(name == "from_pretrained" for _, name in named):
            found.add(str(path.relative_to(ROOT)))
    return found


def test_every_reader_has_its_row_and_every_row_its_reader() -> None:
    """Before the tests in the last column, files; a row may shorten the name of its second."""
    rows = [line.split(" | ") for line in SECURITY.splitlines() if line.startswith("| ") and " | " in line]
    named = {name for row in rows for name in re.findall(r"`([\w/]+\.py)`", row[1])}
    library = {str(path.relative_to(ROOT)) for path in sources()}
    assert {name for name in named if not any(path.endswith(f"/{name}") or path == name for path in library)} == set()
    assert {path for path in readers() if not any(path.endswith(name) for name in named)} == set()
