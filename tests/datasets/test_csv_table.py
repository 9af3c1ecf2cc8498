import logging
import os
import unicodedata

import numpy as np
import openpyxl
import pytest
from PIL import Image

from lml_iqa.datasets import DatasetError, load_csv_table, make_split
from lml_iqa.errors import ConfigError


@pytest.fixture
def root(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.PNG", "c d.png", "sub/e.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    return tmp_path


ROWS = "path,score\na.png,3\nb.png,1.5\nc d.png,5\nsub/e.png,2\n"


def load(root, text, encoding="utf-8", **options):
    (root / "labels.csv").write_bytes(text.encode(encoding))
    return load_csv_table(root, "labels.csv", **options)


def refused(root, text, encoding="utf-8", **options):
    with pytest.raises(DatasetError) as error:
        load(root, text, encoding, **options)
    assert str(root / "labels.csv") in str(error.value) or "(labels.csv" in str(error.value)
    return str(error.value)


def test_plain_file(root):
    table = load(root, ROWS)
    assert table.name == "labels"
    assert table.root == root
    assert table.files.tolist() == ["a.png", "b.PNG", "c d.png", "sub/e.png"]  # spelled as on disk
    assert table.scores.tolist() == [3, 1.5, 5, 2]
    assert (table.scale.name, table.scale.low, table.scale.high) == ("MOS", 1.5, 5)
    assert table.references is None
    assert table.parts is None
    assert table.source == "labels.csv, column 'score'"
    np.testing.assert_allclose(table.scale.to_unit(table.scores), [1.5 / 3.5, 0, 1, 0.5 / 3.5])


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + ROWS,
        ROWS.replace("\n", "\r\n"),
        ROWS.replace("\n", "\r"),
        ROWS.rstrip("\n"),
        ROWS.replace("\n", "\n\n") + "\n , \n,,\n",
        ROWS.replace("\n", ",,\n"),
        ROWS.replace(",", " , "),
        ROWS.replace("c d.png", '"c d.png"'),
        ROWS.replace("a.png,3", "a.png,3e0,").replace("\nb", '\n"b').replace("G,1", "G,1").replace("b.png", 'b.png"'),
    ],
    ids=["BOM", "CRLF", "CR", "no last newline", "blank lines", "empty columns", "spaces", "quotes", "mixed"],
)
def test_ways_to_write_the_same(root, text):
    assert load(root, text).digest() == load(root, ROWS).digest()


def test_named_columns_in_any_order(root):
    text = "n,who,DMOS,img,made from,part\n1,x,40,a.png,r1,train\n2,y,60,b.png,r1,train\n3,z,80,c d.png,r2,test\n"
    table = load(
        root,
        text,
        path_column="img",
        score_column="DMOS",
        reference_column="made from",
        split_column="part",
        higher_is_better=False,
    )
    assert table.name == "labels"
    assert table.scale.name == "DMOS"
    assert table.references.tolist() == ["r1", "r1", "r2"]
    assert table.parts.tolist() == ["train", "train", "test"]
    np.testing.assert_allclose(table.scale.to_unit(table.scores), [1.0, 0.5, 0.0])


def test_split_column_is_the_official_split(root):
    text = "path,score,part\na.png,1,train\nb.png,2,test\nc d.png,3,val\nsub/e.png,4,train\n"
    split = make_split(load(root, text, split_column="part"))
    assert (split.rule, split.train.tolist(), split.val.tolist(), split.test.tolist()) == ("official", [0, 3], [2], [1])


def test_reference_column_keeps_rows_together(root):
    text = "path,score,ref\na.png,1,x\nb.png,2,y\nc d.png,3,y\nsub/e.png,4,z\n"
    for seed in range(10):
        split = make_split(load(root, text, reference_column="ref"), seed=seed)
        assert split.rule == "reference"
        assert any({1, 2} <= set(part.tolist()) for part in (split.train, split.val, split.test))


def test_labels_beside_the_images_or_elsewhere(root, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "mine.csv").write_text(ROWS)
    assert len(load_csv_table(root, elsewhere / "mine.csv")) == 4
    monkeypatch.chdir(elsewhere)
    assert len(load_csv_table(str(root), "mine.csv")) == 4
    (root / "mine.csv").write_text("path,score\na.png,1\nb.png,2\n")
    assert len(load_csv_table(root, "mine.csv")) == 2  # the one in root comes first


def test_given_scale(root):
    assert load(root, ROWS, low=1, high=5).scale.low == 1
    same = "path,score\na.png,3\nb.png,3\n"
    np.testing.assert_allclose(load(root, same, low=1, high=5).scale.to_unit(np.array([3.0])), 0.5)


@pytest.mark.parametrize("options", [{"low": 2.0}, {"high": 4.0}, {"low": 0, "high": 1}])
def test_off_scale_scores(root, options):
    message = refused(root, ROWS, **options)
    assert "has a score outside the scale" in message
    assert "set the scale of the scores" in message


def test_off_scale_names_the_row(root):
    assert "b.PNG (score 1.5) has" in refused(root, ROWS, low=2.0)


def test_constant_scores(root):
    message = refused(root, "path,score\na.png,3\nb.png,3\n")
    assert (
        "column 'score' spans 3..3, which is not a valid scale; give scores that differ, or set low and high" in message
    )


@pytest.mark.parametrize(
    "options", [{"low": 6.0}, {"low": 5, "high": 1}, {"low": float("nan")}, {"low": float("-inf")}]
)
def test_senseless_scale(root, options):
    assert "which is not a valid scale" in refused(root, ROWS, **options)


def test_missing_file(root):
    with pytest.raises(DatasetError, match=r"gone\.csv: cannot be read .*No such file.*; give the path of the label"):
        load_csv_table(root, root / "gone.csv")
    with pytest.raises(DatasetError, match=r"sub: cannot be read .*directory"):
        load_csv_table(root, "sub")
    with pytest.raises(DatasetError, match=r"folder .*gone does not exist; set data\.root"):
        load_csv_table(root / "gone", "labels.csv")


@pytest.mark.parametrize("column", ["path_column", "score_column", "reference_column", "split_column"])
def test_missing_column(root, column):
    message = refused(root, ROWS, **{column: "nope"})
    assert "no column 'nope', only ['path', 'score']; rename it, or name the one to use" in message


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_empty_file(root, text):
    assert "labels.csv: empty, so no column 'path'; give the label file" in refused(root, text)


@pytest.mark.parametrize("text", ["path,score\n", "path,score\n\n,,\n"])
def test_header_only(root, text):
    assert "has no rows; give a label file with at least one rated image" in refused(root, text)


@pytest.mark.parametrize(
    "score",
    [
        "NaN",
        "inf",
        "-Infinity",
        "good",
        "3,5 stars",
        "1e999",
        "12 %",
        "1_000",
        "0x10",
        "٣",
        "\uff13",
        "½",
        "\u22123",
        "1d3",
        "3,",
    ]
    + ["1.234,5", "1,234.5", "1,234,567", "1 000", "3/5", "--3", "TRUE", "9" * 150 + "e200"],
)
def test_score_that_is_no_number(root, score):
    message = refused(root, ROWS.replace("b.png,1.5", f'b.png,"{score}"'))
    assert f"{score!r} in column 'score' of 'b.png' is not a finite number; correct or remove the row" in message


@pytest.mark.parametrize(("row", "column"), [("b.png", "score"), ("b.png, ", "score"), (",1.5", "path")])
def test_row_without_a_value(root, row, column):
    message = refused(root, ROWS.replace("b.png,1.5", row))
    assert f"line 3: no value in column {column!r} ({row.replace(',', ', ')})" in message
    assert "fill it in or remove the row" in message


def test_line_number_counts_blank_lines(root):
    assert "line 5: no value" in refused(root, "path,score\na.png,1\n\n\nb.png,\n")


def test_label_without_image(root):
    message = refused(root, ROWS + "gone.png,3\n")
    assert f"lists 1 of 5 images that are not in {root}: gone.png; unpack the data set again" in message


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "sub/../../x.png"])
def test_path_out_of_the_root(root, name):
    message = refused(root, ROWS + f"{name},3\n")
    assert f"{name!r} points outside the data set; list paths below {root}" in message


@pytest.mark.parametrize("again", ["a.png", "A.PNG", "./a.png", "sub/E.png"])
def test_duplicate_rows(root, again):
    message = refused(root, ROWS + f"{again},3\n")
    assert "listed more than once; keep one row per image" in message
    assert f": {'a.png' if 'e' not in again.lower() else 'sub/e.png'} (score" in message


def test_unknown_part(root):
    text = "path,score,part\na.png,1,train\nb.png,2,validation\n"
    message = refused(root, text, split_column="part")
    assert "b.PNG (score 2) belongs to an unknown set of the split" in message


def test_picture_in_place_of_labels(root):
    with pytest.raises(DatasetError, match=r"a\.png: not UTF-8 text"):
        load_csv_table(root, "a.png")


def test_quote_that_never_ends(root):
    message = refused(root, ROWS + '"' + "x.png,1\n" * 30_000)
    assert "labels.csv" in message
    assert "CSV" in message


def test_names_beyond_ascii(root):
    Image.new("RGB", (4, 4)).save(root / "größe 大.png")
    assert load(root, ROWS + "GRÖSSE 大.png,2\n".replace("SS", "ß")).files[-1] == "größe 大.png"


# ---- delimiters, decimal commas


@pytest.mark.parametrize("delimiter", list(",;\t|"))
@pytest.mark.parametrize(
    "change",
    [
        lambda text, d: text,
        lambda text, d: f"sep={d}\r\n" + text.replace("\n", "\r\n"),
        lambda text, d: f'"sep={d}"\n' + text,
        lambda text, d: f"# ratings of 2024\n#{d}{d}\n\n" + text,
        lambda text, d: "# " + text,
        lambda text, d: text.replace("path", '"path"').replace("a.png", '"a.png"'),
        lambda text, d: "".join(f"{line}{d}{d}\n" for line in text.splitlines()),
        lambda text, d: "".join(f"{i}{d}{line}{d}x\n" for i, line in enumerate(text.splitlines())),
        lambda text, d: text.replace(f"path{d}score", f"path{d}score{d}").replace("\n", f"{d}\n"),
    ],
    ids=["plain", "sep", "sep in quotes", "comments", "header as comment", "quotes", "empty", "others", "longer rows"],
)
def test_delimiters(root, delimiter, change):
    text = change(ROWS.replace(",", delimiter), delimiter)
    assert load(root, text).digest() == load(root, ROWS).digest()


@pytest.mark.parametrize("delimiter", list(";\t|^"))
def test_decimal_commas(root, delimiter):
    text = ROWS.replace(",", delimiter).replace(".5", ",5")
    text = text if delimiter != "^" else f"sep=^\n{text}"
    assert load(root, text).scores.tolist() == [3, 1.5, 5, 2]


def test_quoted_decimal_commas(root):
    assert load(root, ROWS.replace("1.5", '"1,5"')).scores.tolist() == [3, 1.5, 5, 2]


def test_a_column_that_begins_with_a_hash(root):
    text = "#,path,score\n1,a.png,3\n2,b.png,4\n"
    assert load(root, text).scores.tolist() == [3, 4]
    assert load(root, text.replace("score", "#score"), score_column="#score").scores.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        (["1,234", "2,345"], "'1,234'"),
        (["1,5", "2.5"], "'1,5' and '2.5'"),
        (["1.234", "987,5"], "'987,5' and '1.234'"),
    ],
)
def test_commas_that_may_be_thousands(root, scores, shown):
    text = f"path;score\na.png;{scores[0]}\nb.png;{scores[1]}\n"
    message = refused(root, text)
    assert f"column 'score' has {shown}: the comma may separate decimals or thousands; write decimals" in message


def test_three_decimals_where_another_number_tells(root):
    assert load(root, "path;score\na.png;1,234\nb.png;0,345\n").scores.tolist() == [1.234, 0.345]
    assert load(root, "path;score\na.png;1,234\nb.png;2,3\n").scores.tolist() == [1.234, 2.3]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("path,score", "a.png,3,45"),
        ("path,score", "a.png,3,45,,"),
        ("path,score,", "a.png,3,45"),
        ("path,score,,", "a.png,3,45,"),
        ("path,score,raters", "a.png,3,45,12"),
        ("path,score,comment", "a.png,3,45,"),
        ("path,score,comment", "a.png,-3,45,"),
        ("path,score,comment,", "a.png,3,45,,"),
        ("n,path,score", "1,a.png,3,45"),
        ("path,score", "a.png,3.45,blurry"),
        ("path;score", "a.png;3;45"),
        ("path,score", "a,b.png,3"),
    ],
)
def test_rows_with_more_values_than_the_header(root, header, row):
    first = "1,b.png,4" if header.startswith("n") else f"b.png,4{',' * (header.count(',') - 1)}"
    message = refused(root, f"{header}\n{first.replace(',', ';') if ';' in header else first}\n{row}\n")
    shown = row.replace(";", ",").replace(", ", ",").replace(",", ", ")
    assert f"labels.csv, line 3: more values than the header has columns ({shown}); write decimals" in message


@pytest.mark.parametrize("last", ["sub/e.png,2", "sub/e.png,21"])
def test_a_row_that_is_cut_off(root, last):
    text = f"path,score,raters\na.png,3,12\nb.png,4,13\n{last}"
    assert f"line 4: fewer values than the header has columns ({last.replace(',', ', ')})" in refused(root, text)


# ---- headers


@pytest.mark.parametrize("header", ["Path,score", " PATH ,score", "pa th,score", "path_,score"])
def test_nearly_the_column(root, header):
    name = header.split(",")[0].strip()
    assert f"(is {name!r} meant?); rename it, or name the one" in refused(root, ROWS.replace("path,score", header))


@pytest.mark.parametrize("delimiter", list(",;"))
def test_no_header(root, delimiter):
    message = refused(root, ROWS.partition("\n")[2].replace(",", delimiter))
    assert "no column 'path': the first row (a.png, 3) looks like data; add a header line" in message
    assert "(path,score)" in message


@pytest.mark.parametrize("column", ["path", "score"])
def test_a_column_that_is_there_twice(root, column):
    text = f"path,score,{column}\na.png,3,4\nb.png,4,5\n"
    assert f"labels.csv: 2 columns are called {column!r}; rename all but one" in refused(root, text)
    assert load(root, text.replace(f",{column}\n", ",x\n")).scores.tolist() == [3, 4]


def test_unknown_delimiter(root):
    message = refused(root, ROWS.replace(",", ":"))
    assert "only ['path:score']; rename it, or name the one to use (columns are separated by comma, semi" in message


def test_many_columns_in_a_message(root):
    message = refused(root, ",".join(f"column{i}" * 50 for i in range(2000)) + "\n1\n")
    assert "and 1970 more" in message
    assert len(message) < 4000


# ---- encodings and other kinds of file


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_unicode_encodings(root, encoding, end):
    Image.new("RGB", (4, 4)).save(root / "größe 大.png")
    text = (ROWS + "größe 大.png,2\n").replace("\n", end)
    text = text if encoding in {"utf-8-sig", "utf-16", "utf-32"} else "\ufeff" + text
    table = load(root, text, encoding)
    assert table.files[-1] == "größe 大.png"
    assert table.scores.tolist() == [3, 1.5, 5, 2, 2]


def test_windows_encoding_where_a_file_confirms_it(root):
    Image.new("RGB", (4, 4)).save(root / "größe.png")
    text = (ROWS + "größe.png,2\n").replace("score", "Qualität")
    assert load(root, text, "windows-1252", score_column="Qualität").files[-1] == "größe.png"


def test_another_encoding_in_a_column_that_is_not_read(root):
    text = "path,score,rater\na.png,3,Jörg\nb.png,4,Zoë\n"
    assert load(root, text, "windows-1252").scores.tolist() == [3, 4]


@pytest.mark.parametrize("encoding", ["windows-1252", "mac-roman", "cp437"])
def test_other_encodings(root, encoding):
    message = refused(root, ROWS + "größe.png,2\n", encoding)
    assert "lists 1 of 5 images that are not in" in message
    assert ": not UTF-8 text; save the label file as CSV in UTF-8" in message
    Image.new("RGB", (4, 4)).save(root / "größe.png")
    assert "line 2: not UTF-8 text (a.png, 3, gr" in refused(
        root, "path,score,ref\na.png,3,größe\n", encoding, reference_column="ref"
    )


@pytest.mark.parametrize(
    "text", [ROWS.encode("utf-16-le"), ROWS.encode() + b"\0\n", b"\xff\xfe" + b"a\0,\0b"[:-1] + b"\0\xd8"]
)
def test_no_text(root, text):
    (root / "labels.csv").write_bytes(text)
    with pytest.raises(DatasetError, match=r"labels\.csv: not UTF-8 text .*; save the label file as CSV in UTF-8"):
        load_csv_table(root, "labels.csv")


def test_workbook_in_place_of_labels(root):
    openpyxl.Workbook().save(root / "labels.csv")
    with pytest.raises(DatasetError, match=r"labels\.csv: a workbook or an archive, not text; save the sheet as CSV"):
        load_csv_table(root, "labels.csv")


@pytest.mark.parametrize("length", [5000, 200_000])
def test_a_huge_cell(root, length):
    message = refused(root, ROWS + f"{'x' * length},3\n")
    assert "look for an unclosed quotation mark" in message
    assert len(message) < 1000


def test_quotation_marks(root):
    assert "unclosed quotation mark" in refused(root, ROWS.replace("b.png", '"b.png'))
    assert "unclosed quotation mark" in refused(root, ROWS + 'x.png,"3')


# ---- paths


def test_strange_names(root):
    names = [
        "$HOME %s'`.png",
        'double "quotes".png',
        "two\nlines.png",
        "a,b;c.png",
        " spaces at the ends .png ",
        "a..b.png",
    ]
    for name in names:
        (root / name).touch()
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    text = "path,score\n" + "".join(f"{name},{i}\n" for i, name in enumerate(quoted))
    assert load(root, text).files.tolist() == names


def test_names_that_are_not_utf8(root):
    name = os.fsdecode(b"gr\xf6\xdfe.png")
    (root / name).touch()
    (root / "labels.csv").write_bytes(ROWS.encode() + os.fsencode(name) + b",3\n")
    table = load_csv_table(root, "labels.csv")
    assert table.path(4).exists()
    assert table.files[4] == name
    split = make_split(table)
    split.save(root / "split.json", table)
    assert type(split).load(root / "split.json", table).digest(table) == split.digest(table)


@pytest.mark.parametrize("listed", ["NFC", "NFD"])
@pytest.mark.parametrize("disk", ["NFC", "NFD"])
def test_unicode_composition(root, listed, disk):
    name = "Größe é.png"
    (root / unicodedata.normalize(disk, name)).touch()
    text = ROWS + unicodedata.normalize(listed, name.swapcase().replace("SS", "ß")) + ",2\n"
    assert load(root, text).files[-1] == unicodedata.normalize(disk, name)


def test_two_compositions_of_one_name(root):
    for form in ("NFC", "NFD"):
        (root / unicodedata.normalize(form, "é.png")).touch()
    exact = load(root, ROWS + unicodedata.normalize("NFD", "é.png") + ",2\n")
    assert exact.files[-1] == unicodedata.normalize("NFD", "é.png")
    assert r"could be any of ['e\u0301.png', '\xe9.png'] in" in refused(root, ROWS + "É.png,2\n")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sub\\e.png", "sub/e.png"),
        (".\\sub\\E.PNG", "sub/e.png"),
        ("sub//e.png", "sub/e.png"),
        ("sub/../sub/./e.png", "sub/e.png"),
        ("sub/../a.png", "a.png"),
        ("{root}/sub/e.png", "sub/e.png"),
        ("{root}/../{name}/SUB/e.png", "sub/e.png"),
        ("{root}//sub/../a.png", "a.png"),
        (" {root}/a.png", "a.png"),
    ],
)
def test_ways_to_write_a_path(root, name, found):
    text = f"path,score\nb.png,1\n{name.format(root=root, name=root.name)},2\n"
    assert load(root, text).files.tolist() == ["b.PNG", found]


def test_absolute_paths_through_a_link(root, tmp_path_factory):
    link = tmp_path_factory.mktemp("links") / "set"
    link.symlink_to(root)
    (root / "labels.csv").write_text(f"path,score\n{root}/a.png,1\n{link}/sub/e.png,2\n")
    for folder in (root, link):
        assert load_csv_table(folder, "labels.csv").files.tolist() == ["a.png", "sub/e.png"]


@pytest.mark.parametrize(
    "beginning",
    ["/home/ann/set/", "C:\\data\\set\\", "C:/data/", "\\\\server\\share\\", "/", "//nas/set/", "/data//set//"],
)
def test_paths_of_another_machine(root, beginning, caplog):
    (root / "sub" / "f.png").touch()
    separator = "\\" if "\\" in beginning else "/"
    text = f"path,score\n{beginning}sub{separator}e.png,1\n{beginning}sub{separator}f.png,2\n{beginning}A.png,3\n"
    with caplog.at_level(logging.WARNING):
        assert load(root, text).files.tolist() == ["sub/e.png", "sub/f.png", "a.png"]
    assert f"{beginning} is replaced by {root}" in caplog.text.replace("\\\\", "\\").replace("\\server", "\\\\server")
    assert load(root, text.rsplit("\n", 2)[0] + "\n").files.tolist() == ["sub/e.png", "sub/f.png"]


def test_one_image_of_another_machine_is_missing(root):
    message = refused(root, "path,score\n/home/ann/a.png,1\n/home/ann/sub/e.png,2\n/home/ann/gone.png,3\n")
    assert f"lists 1 of 3 images that are not in {root}: /home/ann/gone.png; unpack" in message


def test_paths_of_another_machine_that_could_be_two_files(root):
    (root / "e.png").touch()
    message = refused(root, "path,score\n/home/ann/sub/e.png,1\n/home/ann/sub/e.png,2\n")
    assert "paths are from another machine, and '/home/ann/sub/e.png' could be 'sub/e.png' or 'e.png' in" in message


@pytest.mark.parametrize(
    "names",
    [
        ["/home/ann/a.png", "/home/bob/sub/e.png"],
        ["/home/ann/a.png", "b.png"],
        ["b.png", "/home/ann/a.png"],
        ["/home/ann/../a.png"],
        ["C:\\set\\gone.png"],
        ["..\\a.png"],
        ["sub\\..\\..\\a.png"],
    ],
)
def test_paths_outside(root, names):
    message = refused(root, "path,score\n" + "".join(f"{name},{i}\n" for i, name in enumerate(names)), low=0, high=9)
    assert f"points outside the data set; list paths below {root}" in message


def test_images_that_exist_elsewhere_are_not_taken_from_here(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "a.png").touch()
    assert "points outside the data set" in refused(root, f"path,score\n{other}/a.png,1\n{other}/b.png,2\n")


def test_out_of_a_linked_folder(root, tmp_path_factory):
    (root / "link").symlink_to(tmp_path_factory.mktemp("store"))
    assert "leaves the linked folder" in refused(root, ROWS.replace("a.png", "link/../a.png"))


def test_a_folder_that_links_to_itself(root):
    (root / "loop").symlink_to("loop")
    assert len(load(root, ROWS)) == 4
    assert "lists 1 of 5" in refused(root, ROWS + "loop/a.png,2\n")


# ---- options given in Python


@pytest.mark.parametrize(
    "options",
    [
        {"path_column": None},
        {"score_column": None},
        {"score_column": 3},
        {"path_column": ""},
        {"reference_column": ""},
        {"split_column": False},
        {"higher_is_better": "false"},
        {"higher_is_better": None},
        {"low": "1"},
        {"high": True},
        {"high": [5]},
    ],
)
def test_options_of_another_type(root, options):
    (root / "labels.csv").write_text(ROWS)
    with pytest.raises(ConfigError, match=f"^{next(iter(options))}="):
        load_csv_table(root, "labels.csv", **options)


def test_labels_in_the_home_folder(root, tmp_path_factory, monkeypatch):
    home = tmp_path_factory.mktemp("home")
    (home / "mine.csv").write_text(ROWS)
    monkeypatch.setenv("HOME", str(home))
    assert len(load_csv_table(root, "~/mine.csv")) == 4
