import numpy as np
import pytest
from PIL import Image

from lml_iqa.datasets import DatasetError, load_csv_table, make_split


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
        name="mine",
    )
    assert table.name == "mine"
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
    assert "state the scale that the scores are on" in message


def test_off_scale_names_the_row(root):
    assert "b.PNG (score 1.5) has" in refused(root, ROWS, low=2.0)


def test_constant_scores(root):
    message = refused(root, "path,score\na.png,3\nb.png,3\n")
    assert "column 'score' spans 3..3, which is no scale; give differing scores, or low and high" in message


@pytest.mark.parametrize(
    "options", [{"low": 6.0}, {"low": 5, "high": 1}, {"low": float("nan")}, {"low": float("-inf")}]
)
def test_senseless_scale(root, options):
    assert "which is no scale" in refused(root, ROWS, **options)


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


def test_semicolons(root):
    assert "no column 'path', only ['path;score']" in refused(root, ROWS.replace(",", ";"))


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_empty_file(root, text):
    assert "no column 'path'" in refused(root, text)


@pytest.mark.parametrize("text", ["path,score\n", "path,score\n\n,,\n"])
def test_header_only(root, text):
    assert "holds no rows; give a label file with at least one rated image" in refused(root, text)


@pytest.mark.parametrize("score", ["NaN", "inf", "-Infinity", "good", "3,5 stars", "1e999", "12 %"])
def test_score_that_is_no_number(root, score):
    message = refused(root, ROWS.replace("b.png,1.5", f'b.png,"{score}"'))
    assert f"{score!r} in column 'score' of 'b.png' is no finite number; correct or remove the row" in message


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
    assert "b.PNG (score 2) belongs to an unknown part" in message


@pytest.mark.parametrize("encoding", ["windows-1252", "utf-16"])
def test_other_encodings(root, encoding):
    message = refused(root, ROWS + "größe.png,2\n", encoding)
    assert "not UTF-8 text; save the label file as CSV in UTF-8" in message


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
