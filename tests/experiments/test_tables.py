"""Statistics of the tables, against pandas and SciPy."""

import csv
import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from lml_iqa.datasets import TID2013
from lml_iqa.experiments.markup import legacy_note
from lml_iqa.experiments.results import Result
from lml_iqa.experiments.statistics import METRICS, srcc_by_group, summarize
from lml_iqa.experiments.tables import published, srcc_by, write_tables

VALUES = [0.91, 0.87, 0.93, 0.9, 0.89, 0.95, 0.88]


def test_summary():
    oracle = pd.Series(VALUES)
    summary = summarize(VALUES)
    assert summary.n == 7
    assert summary.median == oracle.median()
    assert summary.mean == pytest.approx(oracle.mean())
    assert summary.std == pytest.approx(oracle.std())
    rng = np.random.default_rng(1)
    medians = [np.median(rng.choice(VALUES, 7)) for _ in range(20000)]
    assert summary.low == pytest.approx(np.quantile(medians, 0.025), abs=0.005)
    assert summary.high == pytest.approx(np.quantile(medians, 0.975), abs=0.005)
    assert summarize(VALUES) == summary


def test_summary_of_few():
    assert summarize([0.5])[:3] == (1, 0.5, 0.5)
    assert np.isnan(summarize([0.5]).std)
    assert np.isnan(summarize([0.5, 0.7]).low)
    assert summarize([]).n == 0


def test_srcc_by_group():
    predicted = np.array([1.0, 2, 3, 4, 4, 4, 4, 1])
    human = np.array([1.0, 3, 2, 1, 2, 3, 1, 2])
    groups = ["a", "a", "a", "b", "b", "b", "c", "c"]
    found = srcc_by_group(predicted, human, groups)
    assert found["a"] == pytest.approx(spearmanr([1, 2, 3], [1, 3, 2]).statistic)
    assert np.isnan(found["b"])  # constant predictions
    assert set(found) == {"a", "b"}  # two images have no correlation


def test_srcc_by_type_on_real_labels(shared_data, tmp_path):
    root = tmp_path / "tid2013"
    (root / "distorted_images").mkdir(parents=True)
    labels = (shared_data / "labels" / "tid2013" / "mos_with_names.txt").read_text()
    (root / "mos_with_names.txt").write_text(labels)
    for line in labels.split("\n"):
        if line.strip():
            (root / "distorted_images" / line.split()[1]).touch()
    table = TID2013(root).load()
    rng = np.random.default_rng(0)
    score = table.scores + rng.normal(0, 1, len(table))  # simulated predictions
    predictions = {
        "score": [str(value) for value in score],
        "human_score": [str(value) for value in table.scores],
        "type": table.types.tolist(),
        "level": [str(level) for level in table.levels],
    }
    frame = pd.DataFrame({"score": score, "human": table.scores, "type": table.types, "level": table.levels})
    for column, count in (("type", 24), ("level", 5)):
        found = srcc_by(column, predictions)
        oracle = frame.groupby(column)[["score", "human"]].apply(lambda g: g.corr(method="spearman").iloc[0, 1])
        assert len(found) == count
        for name, value in oracle.items():
            assert found[str(name)] == pytest.approx(value, abs=1e-12)
    assert srcc_by("reference", predictions) == {}


def run(seed, **options):
    rng = np.random.default_rng(seed)
    metrics = {metric: float(rng.uniform(0.8, 0.9)) for metric in METRICS}
    human = rng.uniform(0, 9, 12)
    predictions = {
        "score": [str(v) for v in human + rng.normal(0, 2, 12)],
        "human_score": [str(v) for v in human],
        "type": ["blur", "jpeg"] * 6,
        "level": [str(i // 4 + 1) for i in range(12)],
    }
    given = {"predictions": predictions, "best_on_test": metrics["srcc"] + 0.01, **options}
    return Result("TID2013", metrics, 12, **given)


def test_files(tmp_path):
    runs = {f"split{n}": run(n) for n in range(4)}
    markdown = write_tables(tmp_path, runs, {"split4": "out of memory"})
    frame = pd.read_csv(tmp_path / "splits.csv", index_col="run")
    assert frame.loc["split4", "failure"] == "out of memory"
    content = json.loads((tmp_path / "table.json").read_text())
    for metric in METRICS:
        assert content["summary"][metric]["median"] == pytest.approx(frame[metric].median())
        assert content["summary"][metric]["std"] == pytest.approx(frame[metric].std())
    assert content["best_on_test_srcc"]["median"] == pytest.approx(frame["srcc"].median() + 0.01)
    assert content["failed"] == {"split4": "out of memory"}
    assert set(content["srcc_by_type"]) == {"blur", "jpeg"}
    medians = []
    for values in runs.values():
        table = pd.DataFrame(values.predictions).query("type == 'blur'")[["score", "human_score"]].astype(float)
        medians.append(table.corr(method="spearman").iloc[0, 1])
    assert content["srcc_by_type"]["blur"]["median"] == pytest.approx(np.median(medians))
    assert f"| SRCC | {frame['srcc'].median():.3f} |" in markdown
    assert "4 runs, 1 failed" in markdown
    assert "epoch selected on the test set (not comparable)" in markdown
    assert "| split4 | out of memory |" in markdown
    assert "| LML-IQA (paper) | - | 0.942 | arXiv 2406.19247v2, abstract |" in markdown
    tex = (tmp_path / "table.tex").read_text()
    assert r"LML-IQA (paper) & -- & 0.942 \\" in tex
    assert rf"Ours, median of 4 & {frame['srcc'].median():.3f} & {frame['plcc'].median():.3f} \\" in tex
    assert (tmp_path / "table.png").stat().st_size > 5000
    with (tmp_path / "groups.csv").open(newline="") as file:
        assert {row["value"] for row in csv.DictReader(file)} == {"blur", "jpeg", "1", "2", "3"}


def test_data_set_without_published_results_or_types(tmp_path):
    predictions = {name: run(0).predictions[name] for name in ("score", "human_score")}
    plain = run(0, predictions=predictions, best_on_test=None)._replace(dataset="mine")
    markdown = write_tables(tmp_path, {"split0": plain}, {})
    assert "published" not in markdown
    assert "distortion" not in markdown
    assert "not comparable" not in markdown
    content = json.loads((tmp_path / "table.json").read_text())
    assert content["best_on_test_srcc"] is None
    assert content["notes"] == []


def test_legacy_table_is_marked(tmp_path):
    runs = {"split0": run(0), "split1": run(1, legacy=["random test crops"])}
    (note,) = legacy_note(runs.values())
    assert "random test crops" in note
    assert f"**{note}**" in write_tables(tmp_path, runs, {})
    assert json.loads((tmp_path / "table.json").read_text())["notes"] == [note]
    tex = (tmp_path / "table.tex").read_text()
    assert f"% {note}" in tex
    assert "Ours, median of 2, legacy protocol &" in tex


def test_nothing_finished(tmp_path):
    markdown = write_tables(tmp_path, {}, {"split0": "out of memory"})
    assert "0 runs, 1 failed" in markdown
    assert "| split0 | out of memory |" in markdown


@pytest.mark.parametrize("dataset", ["LIVE", "CSIQ", "TID2013", "LIVEC"])
def test_published_numbers_have_a_source(dataset):
    rows = published(dataset)
    assert rows
    for row in rows:
        assert set(row) == {"set", "model", "srcc", "plcc", "source"}
        assert re.search(r"arXiv \d{4}\.\d{5}.*, (abstract|table \d+)$", row["source"])
        numbers = [row[metric] for metric in ("srcc", "plcc") if row[metric]]
        assert numbers
        assert all(0.5 < float(number) < 1 for number in numbers)


def test_data_set_without_published_results(tmp_path):
    assert published("SPAQ") == []
    assert "published" not in write_tables(tmp_path, {"split0": run(0)._replace(dataset="SPAQ")}, {})
    assert (tmp_path / "table.tex").read_text().count("&") == 4  # the header and our row
