"""Names of columns under marks that nobody sees, tables in other encodings, and files that are no tables."""

from __future__ import annotations

import gzip
import re

import pandas as pd
import pytest

from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.files.kinds import foreign
from data_modules.tables import Faults, as_numbers, look_for, read_table
from data_modules.tables.headers import nearest, refuse_doubles

BOTH = {"id": "id", "Pleural Effusion": "effusion"}
PLAIN = "id,Pleural Effusion\na,1\nb,0\n"


def read(folder, content, name="t.csv", **how):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(folder / name, BOTH, Faults(), **how)[["id", "effusion"]].to_numpy().tolist()


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
)
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_unicode_is_read_with_and_without_a_mark(tmp_path, encoding, name):
    content = PLAIN.replace("b,", "\u80ba\U0001f600,").encode(encoding)
    content = gzip.compress(content) if name.endswith("gz") else content
    assert read(tmp_path, content, name) == [["a", "1"], ["\u80ba\U0001f600", "0"]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (PLAIN.encode("utf-16")[:-1], "it is not UTF-16 to its end"),
        (PLAIN.replace("b", "\u80ba\u90e8\u6e05\u6670").encode("gb18030"), "neither UTF-8 nor Western"),
        (PLAIN.replace("b", "\u043b\u0451\u0433\u043a\u0438\u0435").encode("cp1251"), "neither UTF-8 nor Western"),
        (PLAIN.replace("b", "\u00e9\u00e8").encode() + b"c\xff,1\n", "neither UTF-8 nor Western"),
        (PLAIN.encode() + b"c\x81,1\n", "neither UTF-8 nor Western"),
        (PLAIN.encode().replace(b"b,", b"b\0,"), "line 3 holds NUL characters"),
        (b"PK\x03\x04\x14\0", "a ZIP archive or an Excel workbook"),
        (gzip.compress(PLAIN.encode(), mtime=0), "gzipped; give it a name that ends in .gz"),
        (b"\n <HTML><body>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ],
)
def test_what_is_no_table_is_said_in_words(tmp_path, content, reason):
    with pytest.raises(DataError, match=r"t\.csv: cannot be read as a table .*" + re.escape(reason)) as caught:
        read(tmp_path, content)
    assert "codec" not in str(caught.value)


@pytest.mark.parametrize("letters", ["\u201cclear\u201d \u2013 \u20ac", "caf\u00e9", "p\u00e4\u00e4t\u00f6s y\u00f6"])
def test_western_letters_are_read(tmp_path, letters):
    assert read(tmp_path, PLAIN.replace("b,", f"{letters},").encode("cp1252"))[1] == [letters, "0"]


@pytest.mark.parametrize(
    "other",
    [
        "Pleural Effusion",
        "PLEURAL EFFUSION",
        "pleural_effusion",
        "Pleural\u00a0Effusion",
        "Pleural  Effusion ",
        "\ufeffPleural Effusion",
        "Pleural\u200b Effusion",
        "Pleural-Effusion",
        "PleuralEffusion",
        "Pleural Effusion.1",
        "\uff30leural Effusion",
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_column_that_is_there_twice_is_refused(tmp_path, other, first):
    names = [other, "Pleural Effusion"] if first else ["Pleural Effusion", other]
    with pytest.raises(DataError, match=r"has the column 'Pleural Effusion' 2 times: column 2 .* and column 3"):
        read(tmp_path, f"id,{names[0]},{names[1]}\na,1,0\n")


def test_columns_that_are_not_read_may_be_there_twice(tmp_path):
    assert read(tmp_path, "id,note,Note,,,Pleural Effusion\na,x,y,,,1\n") == [["a", "1"]]
    refuse_doubles(tmp_path, ["ID", "id"], ["ID", "id"])  # both are wanted


def test_a_doubled_column_of_a_parquet_file_is_refused(tmp_path):
    pd.DataFrame({"id": ["a"], "Pleural Effusion": ["1"], "pleural effusion": ["0"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="has the column 'Pleural Effusion' 2 times"):
        read_table(tmp_path / "t.parquet", BOTH, Faults())


@pytest.mark.parametrize(("cell", "kind"), [(["1"], "list"), (b"1", "binary"), ({"a": 1}, "struct")])
def test_a_parquet_cell_must_be_one_value(tmp_path, cell, kind):
    pd.DataFrame({"id": ["a"], "Pleural Effusion": [cell]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=f"column 'Pleural Effusion' holds {kind}"):
        read_table(tmp_path / "t.parquet", BOTH, Faults())


@pytest.mark.parametrize("name", ["Pleural_Effusion", "pleural effusion", "Pleural Efusion"])
def test_a_column_that_may_be_absent_is_not_passed_over_for_its_spelling(tmp_path, name):
    with pytest.raises(DataError, match=f"no column 'Pleural Effusion', which may be absent, but one '{name}'"):
        read(tmp_path, f"id,{name}\na,1\n", optional=("Pleural Effusion",))
    with pytest.raises(DataError, match=rf"no column 'Pleural Effusion'\. Did you mean '{name}'\?"):
        read(tmp_path, f"id,{name}\na,1\n")
    assert nearest("Pleural Effusion", ["id", "Pneumonia", "Effusion size"]) is None


def test_a_header_of_one_cell_says_what_parts_cells(tmp_path):
    with pytest.raises(DataError, match="parted by commas, semicolons or tabs"):
        read(tmp_path, PLAIN.replace(",", "|"))


def test_messages_stay_readable_whatever_a_header_holds(tmp_path):
    with pytest.raises(DataError) as caught:
        read(tmp_path, "id," + ",".join(["n" * 100_000, *(f"c{n}" for n in range(4_000))]) + "\na,1\n")
    assert len(str(caught.value)) < 1_000 and "and 3,942 more" in str(caught.value)
    assert did_you_mean("betta", ["beta", "lr"]) == "Did you mean 'beta'? Known: beta, lr."


def test_a_folder_in_the_place_of_a_file_is_not_the_same_as_none(tmp_path):
    assert look_for(tmp_path, ("a.csv",)) is None
    (tmp_path / "a.csv").mkdir()
    (tmp_path / "b.csv").symlink_to("nothing")
    with pytest.raises(DataError, match=r"a\.csv is a folder"):
        look_for(tmp_path, ("a.csv",))
    with pytest.raises(DataError, match=r"b\.csv is a link that leads nowhere"):
        look_for(tmp_path, ("b.csv",))


def test_numbers_are_finite_and_have_a_decimal_point():
    cells = pd.Series(["1", "-0.5", "1e3", "1,5", "inf", "-inf", "nan", "", "\uff11", "0x1", "1_0"])
    assert as_numbers(cells).dropna().tolist() == [1.0, -0.5, 1000.0]


def test_a_text_table_is_of_no_other_kind():
    assert foreign(PLAIN.encode()) is None and foreign(b"") is None and foreign(b"<id>,b") is None


@pytest.mark.parametrize("line", ["sep=,", "# exported on Monday", "SEP=;", "-- rows of a query", "[{"])
def test_what_stands_above_a_header_is_named(tmp_path, line):
    with pytest.raises(DataError, match=r"no column .id.\..*Its first line is no header: remove what stands above"):
        read(tmp_path, f"{line}\n{PLAIN}")
