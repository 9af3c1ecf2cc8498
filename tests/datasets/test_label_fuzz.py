"""Damaged label files: the errors are ours, and what is read anyway is right."""

import numpy as np
import openpyxl
import pytest
import scipy.io
from data.label_fuzz import csv_tree, fuzz, readers

from lml_iqa.datasets import DatasetError, ImageTable
from lml_iqa.datasets.readers.matlab import read_numbers, read_texts
from lml_iqa.datasets.readers.workbook import read_sheet


def test_damaged_label_files(tmp_path):
    """``benchmarks/fuzz_labels.py`` runs more."""
    errors = 0
    for name, seconds, result in fuzz(readers(tmp_path), rounds=450, seed=0):
        assert seconds < 2, name
        errors += isinstance(result, DatasetError)
        if isinstance(result, ImageTable):
            assert np.isfinite(result.scores).all()
            assert all(result.path(row).is_file() for row in range(len(result)))
    assert 300 < errors < 450


@pytest.mark.parametrize("options", [{}, {"reference_column": "ref"}])
def test_damaged_structure_changes_no_score(tmp_path, options):
    """Separators, quotes and line ends that come, go or move: each score is the listed one, or there is an error."""
    root, load = csv_tree(tmp_path / "csv")
    plain = load()
    expected = dict(zip(plain.files.tolist(), plain.scores.tolist(), strict=True))
    text = (root / "labels.csv").read_bytes().decode()
    tokens = [",", ";", "\t", "|", '"', "\n", "\r", "\r\n", " ", "#", ",,", '""', "\n\n", "'", "\ufeff", "sep=;\n"]
    rng = np.random.default_rng(0)
    read = 0
    for _ in range(1500):
        place = int(rng.integers(len(text)))
        token = tokens[int(rng.integers(len(tokens)))]
        structure = not text[place].isalnum() and text[place] != "."
        changed = text[:place] + (token if rng.random() < 0.7 or not structure else "") + text[place + structure :]
        (root / "labels.csv").write_bytes(changed.encode())
        try:
            table = load(**{"reference_column": None, "split_column": None, **options})
        except DatasetError:
            continue
        read += 1
        assert dict(zip(table.files.tolist(), table.scores.tolist(), strict=True)).items() <= expected.items(), changed
    assert read > 50


# ---- MATLAB files, beside scipy


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"])
def test_matlab_as_scipy_reads_it(tmp_path, compressed, kind):
    numbers = np.arange(9).astype(kind)
    names = np.empty((5, 1), dtype=object)
    names[:, 0] = ["a.bmp", "größe 大.png", "", "x" * 300, "t1"]
    file = tmp_path / "a.mat"
    scipy.io.savemat(file, {"n": numbers, "t": names, "s": {"x": 1}, "one": 2.5}, do_compression=compressed)
    read = scipy.io.loadmat(file)
    np.testing.assert_array_equal(read_numbers(file, "n"), read["n"].ravel().astype(np.float64))
    assert read_numbers(file, "one").tolist() == [2.5]
    assert read_texts(file, "t").tolist() == names[:, 0].tolist()


@pytest.mark.parametrize(
    "value",
    [np.ones((3, 4)), np.ones(3) * 1j, "text", {"a": 1}, np.array(["a", "b"], dtype=object), np.array(["a", "b"])],
)
def test_matlab_variables_that_are_no_vector_of_numbers(tmp_path, value):
    scipy.io.savemat(tmp_path / "a.mat", {"x": value})
    with pytest.raises(DatasetError, match=r"a\.mat: variable 'x' has no numbers; give the original label file"):
        read_numbers(tmp_path / "a.mat", "x")


def test_other_matlab_files(tmp_path):
    for content, message in [
        (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n", "a MATLAB 7.3 file, which is not supported"),
        (b"", "not a MATLAB file, or damaged"),
        (b"\0" * 200, "not a MATLAB file, or damaged"),
    ]:
        (tmp_path / "a.mat").write_bytes(content)
        with pytest.raises(DatasetError, match=message):
            read_numbers(tmp_path / "a.mat", "x")
    scipy.io.savemat(tmp_path / "a.mat", {"x": np.ones(3)}, format="4")
    with pytest.raises(DatasetError, match="not a MATLAB file, or damaged"):
        read_numbers(tmp_path / "a.mat", "x")


# ---- workbooks


def sheet(tmp_path, *rows, hidden=()):
    book = openpyxl.Workbook()
    for row in [["name", "MOS"], *rows]:
        book.active.append(row)
    for row in hidden:
        book.active.row_dimensions[row].hidden = True
    book.save(tmp_path / "a.xlsx")
    return read_sheet(tmp_path / "a.xlsx", ["name", "MOS"])


def test_workbook_cells(tmp_path):
    rows = [["a", 3], ["b", "3,45"], [None, None], [7, 4.0], ["d", " 2.5 "], [" ", None]]
    assert sheet(tmp_path, *rows, hidden=[3]) == {"name": ["a", "b", "7", "d"], "MOS": ["3", "3,45", "4", "2.5"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["b", "=A1+1"], "row 3: the result of the formula '=A1\\+1' is not stored; open and save the workbook"),
        (["=A1", "=A1+1"], "row 3: the result of the formula '=A1' is not stored"),
        (
            ["b", np.datetime64("2024-05-03").item()],
            "row 3: 2024-05-03.* in column 'MOS' is a date; enter the number again",
        ),
        (["b", None], "row 3: no value in column 'MOS' \\(b\\)"),
        (["b", " "], "row 3: no value in column 'MOS' \\(b\\)"),
    ],
)
def test_workbook_cells_that_are_refused(tmp_path, row, message):
    with pytest.raises(DatasetError, match=message):
        sheet(tmp_path, ["a", 3], row)


def test_workbook_with_a_column_twice(tmp_path):
    sheet(tmp_path, ["a", 3])
    book = openpyxl.load_workbook(tmp_path / "a.xlsx")
    book.active["C1"] = "MOS"
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(DatasetError, match="2 columns are called 'MOS'; rename all but one"):
        read_sheet(tmp_path / "a.xlsx", ["name", "MOS"])
