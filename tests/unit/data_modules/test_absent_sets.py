"""A set that is not on disk is told from one that is there and broken."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from apo_lightning.errors import AbsentError, DataError
from data_modules import DATA
from data_modules.folder import FolderDataModule
from tests.helpers import chestxray14_folder

FOLDERS = sorted(name for name, cls in DATA.items() if issubclass(cls, FolderDataModule))


def looked_at(name: str, root: Path, **more: object) -> None:
    data = DATA[name](root=str(root), **more)
    data.splits = ("test",)
    data.check()


@pytest.mark.parametrize("name", FOLDERS)
def test_without_a_folder_or_with_an_empty_one_there_is_no_set(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "nowhere" / "deeper", tmp_path / "empty"):
        with pytest.raises(AbsentError, match=str(root)):
            looked_at(name, root)


@pytest.mark.parametrize("name", FOLDERS)
def test_something_else_in_place_of_the_folder_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a")
    (tmp_path / "link").symlink_to(tmp_path / "unmounted")
    for root in (tmp_path / "file", tmp_path / "link"):
        with pytest.raises(DataError, match="is no folder") as caught:
            looked_at(name, root)
        assert not isinstance(caught.value, AbsentError)


def test_a_folder_that_may_not_be_looked_at_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "is_dir", refused)
    with pytest.raises(DataError, match=r"cannot be looked at \(Permission denied\)") as caught:
        looked_at("chestxray14", tmp_path)
    assert not isinstance(caught.value, AbsentError)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("Data_Entry_2017_v2020.csv", "cannot be read as a table"),  # empty
        ("test_list.txt", "names no image"),
        ("images", "No image of the table was found"),
    ],
)
def test_part_of_a_set_is_a_broken_set(tmp_path: Path, broken: str, said: str) -> None:
    path = chestxray14_folder.nih_folder(tmp_path) / broken
    path.rename(tmp_path / "away") if path.is_dir() else path.write_text("")
    with pytest.raises(DataError, match=said) as caught:
        looked_at("chestxray14", tmp_path)
    assert not isinstance(caught.value, AbsentError)


def test_one_of_two_indices_is_a_broken_set(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text('[{"file_name": "1.png", "syms": [], "boxes": []}]')
    with pytest.raises(DataError, match=r"has none of train\.json") as caught:
        looked_at("chestxdet10", tmp_path)
    assert not isinstance(caught.value, AbsentError)


def test_an_index_that_a_setting_names_may_not_be_there(tmp_path: Path) -> None:
    for name in ("tabular", "chestxray14"):
        with pytest.raises(AbsentError, match=r"mine\.csv: cannot be read as a table \(No such file"):
            looked_at(name, tmp_path, index_file="mine.csv")
