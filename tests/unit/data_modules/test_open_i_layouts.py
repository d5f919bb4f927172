"""Open-I's official form, XML in a folder or an archive, and each way in which a download can be broken."""

from __future__ import annotations

import http.server
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from apo_lightning.errors import DataError
from data_modules.archives.open_i_layouts import image_key
from data_modules.open_i import OpenI
from tests.helpers.open_i_folder import (
    FINDINGS,
    archive,
    ids,
    kaggle_folder,
    kaggle_name,
    open_i_folder,
    r2gen_folder,
    xml,
)

XML = "ecgen-radiology"


@pytest.fixture
def root(tmp_path) -> Path:
    return open_i_folder(tmp_path)


def test_the_archive_is_read_without_unpacking(root):
    folder = OpenI(root=str(root)).index
    archive(root)
    before = sorted(root.rglob("*"))
    data = OpenI(root=str(root))
    assert data.index == folder and len(folder) == 30
    assert "reports from NLMCXR_reports.tgz: 31" in data.notes
    assert sorted(root.rglob("*")) == before


def test_the_folder_goes_before_the_archive_unless_it_is_chosen(root):
    archive(root)
    (root / XML).mkdir()
    (root / XML / "7.xml").write_text(xml("CXR7", ids(7)))
    (root / XML / "._7.xml").write_text("a file that macOS leaves behind")
    data = OpenI(root=str(root))
    assert [study.id for study in data.index] == ["CXR7"] and data.faults == []
    assert len(OpenI(root=str(root), index_file="NLMCXR_reports.tgz").index) == 30


def test_every_form_is_found_in_turn_and_gives_the_same_text(tmp_path):
    """The folder of XML first, then Kaggle's tables, then the annotation file; here all lie in one folder."""
    r2gen_folder(kaggle_folder(open_i_folder(tmp_path)))
    told = {}
    for gone in (XML, "indiana_reports.csv", None):
        data = OpenI(root=str(tmp_path), sections=["findings"])
        told[next(note for note in data.notes if "reports from" in note) if data.index else ""] = [
            study.report for study in data.index
        ]
        if gone:
            (tmp_path / gone).rename(tmp_path / f"old {gone}")
    assert list(told) == [
        "reports from ecgen-radiology: 31",
        "reports from indiana_reports.csv: 30",
        "reports from annotation.json: 30",
    ]
    assert list(told.values()) == [[FINDINGS] * 30] * 3


@pytest.mark.parametrize("place", ["NLMCXR_png", "images", ".", "elsewhere"])
def test_image_folders(root, place):
    if place != "NLMCXR_png":
        (root / place).mkdir(exist_ok=True)
        for path in (root / "NLMCXR_png").iterdir():
            path.rename(root / place / path.name)
        (root / "NLMCXR_png").rmdir()
    chosen = {"images_dir": place} if place == "elsewhere" else {}
    data = OpenI(root=str(root), **chosen)
    data.check()
    assert Path(data.index[0].images[0]).parent == root / place
    if chosen:
        with pytest.raises(DataError, match=r"No image of the reports was found in .*NLMCXR_png.*data.images_dir"):
            OpenI(root=str(root)).studies("test")


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """Address of a server on this machine, and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"fetched")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", paths
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "definition",
    [
        '<!DOCTYPE eCitation [<!ENTITY x SYSTEM "{file}">]>',
        '<!DOCTYPE eCitation [<!ENTITY x SYSTEM "{http}">]>',
        '<!DOCTYPE eCitation SYSTEM "{http}">',
        '<!DOCTYPE eCitation [<!ENTITY % p SYSTEM "{http}"> %p; <!ENTITY x "y">]>',
        '<!DOCTYPE eCitation [<!ENTITY a "ha"><!ENTITY x "&a;&a;&a;&a;&a;&a;">]>',
    ],
)
def test_nothing_is_fetched_for_a_report(root, asked, definition, packed):
    """External entities, external definitions, entities that grow: the file is refused by name, others are kept."""
    secret = root / "secret.txt"
    secret.write_text("a secret")
    address, paths = asked
    definition = definition.format(file=secret.as_uri(), http=address)
    head, body = xml("CXR7", ids(7), findings="&x;").split("\n")
    (root / XML / "7.xml").write_text(f"{head}\n{definition}\n{body}")
    name = archive(root).name if packed else XML
    data = OpenI(root=str(root))
    assert len(data.index) == 29 and "CXR7" not in {study.id for study in data.index}
    ((where, why),) = data.faults
    assert where == f"{name}:7.xml" and "document type definition" in why
    assert paths == []
    assert not any("secret" in (study.report or "") for study in data.index)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (xml("CXR7", ids(7))[:300], "cannot be read as XML"),
        ("", "cannot be read as XML"),
        ("<html><body>not found</body></html>", "uId '' is not CXR and a number"),
        (xml("7", ids(7)), "uId '7' is not CXR and a number"),
        (xml("CXR8", ids(8)), "uId 'CXR8' is listed before"),
        (xml("CXR7", ids(7)) + " " * 1_000_000, "larger than 1,000,000 bytes"),
        (xml("CXR7", ids(7)).replace("utf-8", "utf-99"), "cannot be read as XML"),
        (xml("CXR7", ["../../etc/passwd"]), "image path '../../etc/passwd.png' leads out of data.root"),
        (xml("CXR7", ["/etc/passwd"]), "image path '/etc/passwd.png' leads out of data.root"),
    ],
)
def test_a_damaged_report_is_named_and_the_others_are_kept(root, text, reason, packed):
    (root / XML / "9.xml" if "CXR8" in text else root / XML / "7.xml").write_text(text)
    name = archive(root).name if packed else XML
    data = OpenI(root=str(root), max_bad_share=0.1)
    data.check()
    assert sum(data.facts()["studies"].values()) == 29
    ((where, why),) = data.bad
    assert where.startswith(f"{name}:") and where.endswith(("7.xml", "9.xml")) and reason in why


def test_more_damage_than_is_allowed_stops(root):
    (root / XML / "7.xml").write_text("<a>")
    with pytest.raises(DataError, match=r"1 of 30 studies and rows cannot be used .*ecgen-radiology:7.xml"):
        OpenI(root=str(root)).check()


@pytest.mark.parametrize("content", ["cut", "text", "empty"])
def test_a_damaged_archive_is_an_error(root, content):
    path = archive(root)
    if content == "empty":
        tarfile.open(path, "w:gz").close()
    else:
        path.write_bytes(path.read_bytes()[:700] if content == "cut" else b"a web page")
    with pytest.raises(DataError, match=r"NLMCXR_reports.tgz.* (cannot be read as an archive|holds no XML file)"):
        OpenI(root=str(root)).studies("test")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"index_file": "reports.tgz"}, r"none of reports.tgz\. .*data.index_file"),
        ({"index_file": "notes.txt"}, "notes.txt is no folder of XML, .tgz, .csv or .json"),
        ({"images_dir": "pictures"}, "No image of the reports was found in .*pictures"),
    ],
)
def test_what_is_not_there(root, settings, reason):
    (root / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=reason):
        OpenI(root=str(root), **settings).studies("test")


def test_a_folder_without_reports(tmp_path):
    with pytest.raises(DataError, match=r"none of ecgen-radiology, NLMCXR_reports.tgz, indiana_reports.csv, "):
        OpenI(root=str(tmp_path)).studies("test")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("imageid,side\nx,PA\n", "views_file.*no column view, projection"),
        ("uid,view\nx,PA\n", "views_file.*no column imageid or filename"),
        (None, "cannot be read as a table"),
    ],
)
def test_a_table_of_views_that_cannot_be_used(root, text, reason):
    if text:
        (root / "views.csv").write_text(text)
    with pytest.raises(DataError, match=reason):
        OpenI(root=str(root), views_file="views.csv").studies("test")


def test_an_unknown_view_is_a_fault_and_leaves_the_view_unknown(root):
    (root / "views.csv").write_text(f"imageid,view\n{ids(1)[0]},oblique\n{ids(2)[0]},AP\n")
    data = OpenI(root=str(root), views_file="views.csv")
    assert [study.views for study in data.index[:2]] == [("",), ("FRONTAL",)]
    assert data.faults == [("views.csv:2", "unknown view ('oblique') in column 'view'")]


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("CXR1_1_IM-0001-4001", "1_IM-0001-4001"),
        (kaggle_name("CXR2_IM-0652-1001"), "2_IM-0652-1001"),
        ("NLMCXR_png/CXR2_IM-0652-1001.png", "2_IM-0652-1001"),
        ("CXR3_IM-1384-0001-0002", "3_IM-1384-0001-0002"),
        ("images/CXR2384_IM-0942/0.png", "CXR2384_IM-0942/0"),
        ("CXR2384_IM-0942/1.png", "CXR2384_IM-0942/1"),
    ],
)
def test_names_of_one_image_are_one_key(reference, key):
    assert image_key(reference) == key
