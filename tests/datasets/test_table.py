from pathlib import Path

import numpy as np
import pytest
import torch

from lml_iqa.datasets import DatasetError, ImageTable, ScoreScale

SCALE = ScoreScale("MOS", 1.0, 5.0)


def table(files=("a.png", "b.png", "c.png"), scores=(1.0, 5.0, 2.5), scale=SCALE, root=Path("/data"), **columns):
    columns = {k: np.array(v) if isinstance(v, list) else v for k, v in columns.items()}
    return ImageTable("toy", root, np.array(files, dtype=np.str_), np.array(scores, dtype=float), scale, **columns)


def refused(**columns):
    with pytest.raises(DatasetError) as error:
        table(**columns)
    return str(error.value)


@pytest.mark.parametrize(("higher_is_better", "units"), [(True, [0, 0.25, 1]), (False, [1, 0.75, 0])])
def test_scale_by_hand(higher_is_better, units):
    scale = ScoreScale("x", -10.0, 30.0, higher_is_better)
    native = np.array([-10.0, 0.0, 30.0])
    np.testing.assert_allclose(scale.to_unit(native), units)
    np.testing.assert_allclose(scale.to_native(np.array(units)), native)
    assert scale.native_per_unit == 40


@pytest.mark.parametrize("higher_is_better", [True, False])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-2.64, 111.77), (1e-3, 1.1e-3), (-9.0, -1.0)])
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_scale_round_trip(kind, low, high, higher_is_better):
    scale = ScoreScale("x", low, high, higher_is_better)
    native = kind(np.random.default_rng(0).uniform(low - 1, high + 1, 100))
    back = scale.to_native(scale.to_unit(native))
    assert type(back) is type(native)
    assert back.dtype == native.dtype
    np.testing.assert_allclose(back, native, rtol=1e-9, atol=1e-9)
    inside = kind(np.linspace(low, high, 50))
    steps = np.diff(np.asarray(scale.to_unit(inside)))
    assert np.all(steps > 0 if higher_is_better else steps < 0)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, np.inf), (np.nan, 1), (-np.inf, 0)])
def test_scale_without_extent_is_refused(low, high):
    with pytest.raises(ValueError, match="finite low < high"):
        ScoreScale("x", low, high)


def test_path_and_length():
    assert len(table()) == 3
    assert table().path(1) == Path("/data/b.png")


def test_scores_at_the_ends_of_the_scale_pass():
    assert table(scores=(1.0, 5.0, 3.0)).scores.tolist() == [1, 5, 3]


@pytest.mark.parametrize("score", [0.99, 5.01, -3])
def test_off_scale_score(score):
    message = refused(scores=(1.0, score, 3.0), source="labels.csv")
    assert message == (
        f"toy in /data (labels.csv): b.png (score {score:g}) has a score outside the scale 1..5 of this MOS; "
        "correct the score, or set the scale of the scores"
    )


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_score_that_is_not_finite(score):
    message = refused(scores=(1.0, 2.0, score))
    assert "toy in /data: c.png" in message
    assert "not a finite number; correct or remove the row" in message


def test_many_bad_rows_are_counted():
    files = [f"{i}.png" for i in range(9)]
    message = refused(files=files, scores=[7.0] * 9)
    assert "4.png (score 7) and 4 more has a score outside" in message
    assert "5.png" not in message


def test_duplicate_rows():
    message = refused(files=("b.png", "a.png", "b.png"))
    assert "b.png" in message
    assert "a.png" not in message
    assert "listed more than once; keep one row per image" in message


def test_no_rows():
    assert "the table has no rows; give a label file" in refused(files=(), scores=())


@pytest.mark.parametrize("column", ["scores", "references", "types", "levels", "parts"])
def test_columns_of_unequal_length(column):
    assert f"3 files but 2 {column}" in refused(**{column: np.array(["1", "2"])})


def test_parts():
    assert table(parts=["train", "", "test"]).parts.tolist() == ["train", "", "test"]
    message = refused(parts=["train", "Test", "validation"])
    assert "b.png (score 5), c.png (score 2.5) belongs to an unknown set of the split" in message
    assert '"train", "val" and "test"' in message


def test_unrated_images_need_no_scores():
    assert not table(scores=[np.nan] * 3, rated=False).rated
    with pytest.raises(DatasetError, match="not a finite number"):
        table(scores=[np.nan] * 3)


def test_digest_is_of_the_content_alone():
    plain = table().digest()
    assert len(plain) == 64
    assert table(root=Path("/elsewhere"), source="x").digest() == plain
    shuffled = table(files=("c.png", "a.png", "b.png"), scores=(2.5, 1.0, 5.0))
    assert shuffled.digest() == plain
    others = [
        table(files=("a.png", "b.png", "d.png")),
        table(scores=(1.0, 5.0, 2.5000001)),
        table(scores=(5.0, 1.0, 2.5)),
        table(references=["x", "x", "y"]),
        table(references=["x", "y", "y"]),
        table(files=("a.png", "b.png"), scores=(1.0, 5.0)),
    ]
    assert len({plain, *(other.digest() for other in others)}) == 1 + len(others)
