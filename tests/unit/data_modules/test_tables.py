"""Tables as users and archives have them, and the rows that cannot be used."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pandas as pd
import pytest

from apo_lightning.errors import DataError
from data_modules.tables import Faults, find, look_for, numbers, read_table

BOTH = {"id": "name", "report": "text"}
PLAIN = "id,other,report\na1,x,clear lungs\na2,y,effusion\n"
ROWS = [("a1", "clear lungs"), ("a2", "effusion")]


def read(folder: Path, content: bytes | str, *, name: str = "t.csv", columns=BOTH, faults: Faults | None = None, **how):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, columns, Faults() if faults is None else faults, **how)


def cells(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    return [tuple(row) for row in rows.drop(columns="where").to_numpy().tolist()]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        pytest.param(PLAIN, "t.csv", id="plain"),
        pytest.param(b"\xef\xbb\xbf" + PLAIN.encode(), "t.csv", id="byte order mark"),
        pytest.param(PLAIN.replace("\n", "\r\n"), "t.csv", id="crlf"),
        pytest.param(PLAIN.replace("\n", "\r"), "t.csv", id="cr"),
        pytest.param(PLAIN.rstrip("\n"), "t.csv", id="no final newline"),
        pytest.param(PLAIN.replace(",", ";"), "t.csv", id="semicolons"),
        pytest.param(PLAIN.replace(",", "\t"), "t.tsv", id="tabs"),
        pytest.param(PLAIN.replace(",", " ,  "), "t.csv", id="blanks around cells"),
        pytest.param('"id","other","report"\n"a1","x","clear lungs"\n"a2","y","effusion"\n', "t.csv", id="quotes"),
        pytest.param(f"\n ,,\n{PLAIN}", "t.csv", id="blank lines above the header"),
        pytest.param(PLAIN.replace("\n", "\n\n"), "t.csv", id="blank lines between"),
        pytest.param(PLAIN.replace("\n", ",\n"), "t.csv", id="empty last column"),
        pytest.param(PLAIN.replace("s\n", "s,\n"), "t.csv", id="empty last cell that the header lacks"),
        pytest.param(PLAIN.replace("\n", ",\n").replace("report,", "report,,"), "t.csv", id="columns without a name"),
        pytest.param(gzip.compress(PLAIN.encode()), "t.csv.gz", id="gzip"),
        pytest.param(
            gzip.compress(b"\xef\xbb\xbf" + PLAIN.replace(",", ";").encode()), "t.csv.gz", id="gzip, all else"
        ),
    ],
)
def test_the_same_table_in_many_forms(tmp_path, content, name):
    faults = Faults()
    rows = read(tmp_path, content, name=name, faults=faults)
    assert list(rows.columns) == ["name", "text", "where"] and cells(rows) == ROWS
    assert faults == []


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_letters_outside_ascii(tmp_path, encoding):
    rows = read(tmp_path, "id,report\n1,épanchement à gauche\n".encode(encoding))
    assert cells(rows) == [("1", "épanchement à gauche")]


def test_one_letter_far_down_decides_the_encoding(tmp_path):
    """Past the first megabyte, so that looking at the beginning would not do."""
    text = "id,report\n" + f"1,{'clear ' * 1000}\n" * 200 + "last,dépôt\n"
    for encoding in ("utf-8", "latin-1"):
        assert cells(read(tmp_path, text.encode(encoding)))[-1] == ("last", "dépôt")


def test_cells_with_separators_quotes_and_line_breaks(tmp_path):
    text = 'id,report\n1, "heart, lungs; ""normal"""\n2,"FINDINGS:\n\nclear\n"\n3,5" film\n'
    assert cells(read(tmp_path, text)) == [
        ("1", 'heart, lungs; "normal"'),
        ("2", "FINDINGS:\n\nclear"),
        ("3", '5" film'),
    ]


def test_where_is_the_line_on_which_a_row_begins(tmp_path):
    """Line breaks inside cells and blank lines count, and so do rows that are faults."""
    text = 'id,report\n1,"a\nb\nc"\n\n2,x,y\n3,d\n,e\n'
    faults = Faults()
    rows = read(tmp_path, text, faults=faults, ids=("name",))
    assert list(rows["where"]) == ["t.csv:2", "t.csv:7"]
    assert faults == [
        ("t.csv:6", "has 3 cells, more than the 2 of the header"),
        ("t.csv:8", "column 'id' is empty ('')"),
    ]
    assert list(rows.index) == [0, 1]


def test_a_row_with_too_many_cells_is_a_fault_even_if_all_have_them(tmp_path):
    """Nothing may be shortened: an unquoted comma has moved every cell behind it."""
    faults = Faults()
    assert cells(read(tmp_path, "id,report\n1,clear, no effusion\n2,ok\n", faults=faults)) == [("2", "ok")]
    assert faults == [("t.csv:2", "has 3 cells, more than the 2 of the header")]
    with pytest.raises(DataError, match=r"t.csv:2: has 3 cells, more than the 2 .* None of the 2 rows can be used"):
        read(tmp_path, "id,report\n0,1,a\n1,2,b\n")


def test_a_row_that_lacks_a_cell_is_a_fault_whichever_it_is(tmp_path):
    """A file that was cut off would lose labels without a word, and a cell that was left out would move all others."""
    faults = Faults()
    given = "id,edema,effusion,x\n1\n2,0,1,c\n3,1,d\n4,,,\n"
    columns = {name: name for name in ("id", "edema", "effusion")}
    rows = read(tmp_path, given, columns=columns, faults=faults)
    assert cells(rows) == [("2", "0", "1"), ("4", "", "")]
    assert faults == [
        ("t.csv:2", "has 1 cells, fewer than the 4 of the header"),
        ("t.csv:4", "has 3 cells, fewer than the 4 of the header"),
    ]


def test_a_header_that_goes_on_in_nothing_asks_for_no_cells(tmp_path):
    """As the official box list: two names in brackets that commas part, and three commas more."""
    assert cells(read(tmp_path, "id,report,,,\n1,a\n2,b,\n")) == [("1", "a"), ("2", "b")]


def test_text_behind_a_closing_quote_is_a_fault_and_the_next_row_is_read(tmp_path):
    faults = Faults()
    assert cells(read(tmp_path, 'id,report\n1,"said "hi" loud"\n2,b\n', faults=faults)) == [("2", "b")]
    assert faults == [("t.csv:2", "text stands behind a closing quote")]


@pytest.mark.parametrize("blank", ["", "  ", "nan", "NaN", "None", "NULL", "N/A", "na"])
def test_a_row_without_an_id_is_a_fault(tmp_path, blank):
    faults = Faults()
    rows = read(tmp_path, f"id,report\n1,nan\n{blank},b\n2,\n", faults=faults, ids=("name",))
    assert cells(rows) == [("1", "nan"), ("2", "")], "other cells are not ids"
    assert faults == [("t.csv:3", f"column 'id' is empty ('{blank.strip()}')")]


def test_ids_keep_their_zeros(tmp_path):
    assert cells(read(tmp_path, "id,report\n007,1e3\n", ids=("name",))) == [("007", "1e3")]


def test_repeated_rows_are_faults_and_the_first_stays(tmp_path):
    faults = Faults()
    rows = read(tmp_path, "id,report\n1,a\n2,b\n1,c\n1,d\n", faults=faults, unique=("name",))
    assert cells(rows) == [("1", "a"), ("2", "b")]
    why = "is listed before ('1') in column 'id'"
    assert faults == [("t.csv:4", why), ("t.csv:5", why)]
    assert cells(read(tmp_path, "id,report\n1,a\n1,b\n1,a\n", unique=("name", "text"))) == [("1", "a"), ("1", "b")]


def test_missing_columns_are_errors_with_the_nearest_name(tmp_path):
    with pytest.raises(DataError, match=r"t.csv has no column 'report'. Did you mean 'reports'\? Known: id, reports"):
        read(tmp_path, "id,reports\n1,a\n")
    rows = read(tmp_path, "id\n1\n", optional=("report",))
    assert list(rows.columns) == ["name", "where"]
    with pytest.raises(DataError, match="no column 'id'"):
        read(tmp_path, "x\n1\n", optional=("report",))


@pytest.mark.parametrize("content", ["id,report\n", "id,report\n\n,\n ,\n", '"id","report"\n'])
def test_a_table_without_rows_is_an_error(tmp_path, content):
    with pytest.raises(DataError, match=r"t.csv: has a header, and no row below it"):
        read(tmp_path, content, ids=("name",), unique=("name",))


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        pytest.param(b"", "t.csv", "it is empty", id="empty"),
        pytest.param(b"\n\n  \n", "t.csv", "it is empty", id="blank"),
        pytest.param(gzip.compress(b""), "t.csv.gz", "it is empty", id="empty gzip"),
        pytest.param(gzip.compress(PLAIN.encode())[:-12], "t.csv.gz", "ended before the end-of-stream", id="cut off"),
        pytest.param(gzip.compress(b"")[:10] + b"\x07" * 9, "t.csv.gz", "invalid block type", id="spoilt"),
        pytest.param(PLAIN.encode(), "t.csv.gz", "Not a gzipped file, though its name ends in .gz", id="no gzip"),
        pytest.param(b'id,report\n1,a\n2,"b\n3,c\n', "t.csv", "the quote opened on line 3 is never", id="open quote"),
        pytest.param(b"PAR1", "t.parquet", "Parquet", id="parquet"),
    ],
)
def test_unreadable_files_are_errors_that_name_them(tmp_path, content, name, reason):
    with pytest.raises(DataError, match=f"{name}: cannot be read as a table .*{reason}"):
        read(tmp_path, content, name=name)


def test_missing_files_and_folders_are_errors(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path / "none.parquet", tmp_path):
        with pytest.raises(DataError, match=f"{path}: cannot be read as a table"):
            read_table(path, BOTH, Faults())


def test_parquet_reads_as_the_same_table_would_as_csv(tmp_path):
    """A column of whole numbers with a gap is one of floats there: 3 must not become 3.0."""
    frame = pd.DataFrame(
        {
            "id": [1, 2, None],
            "label": [1.0, -1.0, None],
            "share": [0.5, 1.0, None],
            "report": ["a ", None, "c"],
            "flag": [True, False, True],
            "whole": [7, 8, 9],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    faults = Faults()
    columns = {name: name for name in frame}
    rows = read_table(tmp_path / "t.parquet", columns, faults)
    assert cells(rows) == [
        ("1", "1", "0.5", "a", "True", "7"),
        ("2", "-1", "1.0", "", "False", "8"),
        ("", "", "", "c", "True", "9"),
    ]
    assert list(rows["where"]) == ["t.parquet:1", "t.parquet:2", "t.parquet:3"]
    rows = read_table(tmp_path / "t.parquet", columns, faults, ids=("id",))
    assert len(rows) == 2 and faults == [("t.parquet:3", "column 'id' is empty ('')")]
    with pytest.raises(DataError, match=r"t.parquet has no column 'ids'\. Did you mean 'id'"):
        read_table(tmp_path / "t.parquet", {"ids": "ids"}, faults)


def test_numbers_are_floats_empty_is_nan_and_others_are_faults(tmp_path):
    faults = Faults()
    rows = read(tmp_path, "id,report\n1,1.0\n2,\n3,-1\n4,2\n5,yes\n6, 0 \n7,nan\n", faults=faults)
    found = numbers(rows, ["text"], (0, 1, -1), faults)
    assert found["text"].tolist() == pytest.approx([1.0, math.nan, -1.0, 0.0], nan_ok=True)
    assert found["name"].tolist() == ["1", "2", "3", "6"]
    wrong = ((5, "2"), (6, "yes"), (8, "nan"))
    assert faults == [
        (f"t.csv:{line}", f"'report' is none of -1, 0, 1, nor empty ({value!r})") for line, value in wrong
    ]


def test_numbers_of_several_columns_leave_whole_rows_out(tmp_path):
    faults = Faults()
    rows = read(tmp_path, "id,report\n1,5\n5,1\n1,0\n", faults=faults)
    found = numbers(rows, ["name", "text"], (0, 1), faults)
    assert cells(found) == [(1.0, 0.0)] and [where for where, _ in faults] == ["t.csv:3", "t.csv:2"]


def test_faults_drop_says_where_why_and_what(tmp_path):
    faults = Faults()
    rows = read(tmp_path, PLAIN, faults=faults)
    assert cells(faults.drop(rows, rows["name"] == "none", "never")) == ROWS and faults == []
    assert cells(faults.drop(rows, rows["name"] == "a1", "is no id", "name")) == ROWS[1:]
    faults.drop(rows, rows["name"] == "a2", "is no row")
    assert faults == [("t.csv:2", "is no id ('a1') in column 'id'"), ("t.csv:3", "is no row")]


def test_files_are_found_plain_or_gzipped_in_the_order_of_the_names(tmp_path):
    with pytest.raises(DataError, match=rf"{tmp_path} has none of new.csv, old.csv \(nor gzipped\). Fetch it"):
        find(tmp_path, ("new.csv", "old.csv"))
    with pytest.raises(DataError, match="Ask for it"):
        find(tmp_path, ("new.csv",), what="Ask for it.")
    assert look_for(tmp_path, ("new.csv",)) is None
    (tmp_path / "new.csv").mkdir()
    (tmp_path / "old.csv.gz").touch()
    assert find(tmp_path, ("new.csv", "old.csv")) == tmp_path / "old.csv.gz", "a folder is no table"
    (tmp_path / "old.csv").touch()
    assert find(tmp_path, ("new.csv", "old.csv")) == tmp_path / "old.csv"
    (tmp_path / "new.csv.gz").touch()
    assert look_for(tmp_path, ("new.csv", "old.csv")) == tmp_path / "new.csv.gz"
