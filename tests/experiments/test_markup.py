"""Tables with names that contain special characters of Markdown, LaTeX, CSV and JSON."""

import csv
import io
import json
import os

from lml_iqa.experiments.markup import csv_text, latex_table, markdown_table, to_json
from lml_iqa.experiments.results import Result, read
from lml_iqa.experiments.runs import Run
from lml_iqa.experiments.statistics import METRICS
from lml_iqa.experiments.tables import write_tables

ODD = ["a|b", "c\nd", "e\\f", "g$h$", os.fsdecode(b"i\xff"), "#1 {x} 5% ~ ^ & _", "`j` *k* <l>"]


def test_markdown_keeps_its_columns():
    head, line, *rows = markdown_table(["run", "value"], [[name, "1"] for name in ODD])
    assert (head, line) == ("| run | value |", "| --- | --- |")
    assert rows[0] == r"| a\|b | 1 |"
    assert rows[1] == "| c d | 1 |"
    assert rows[2] == r"| e\\f | 1 |"
    assert rows[3] == r"| g\$h\$ | 1 |"
    assert rows[6] == r"| \`j\` \*k\* \<l> | 1 |"
    assert all(row.replace(r"\|", "").count("|") == 3 for row in rows)
    assert "\n".join(rows).encode()


def test_latex_escapes():
    text = latex_table(["run"], [[name] for name in ODD], ["a note\nof two lines"])
    assert r"c d \\" in text
    assert r"e\textbackslash{}f \\" in text
    assert r"g\$h\$ \\" in text
    assert r"\#1 \{x\} 5\% \textasciitilde{} \textasciicircum{} \& \_ \\" in text
    assert "% a note of two lines" in text


def test_json_and_csv_without_nan():
    content = {"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": (2, float("-inf"))}}
    text = to_json(content)
    assert json.loads(text, parse_constant=lambda name: 1 / 0) == {"a": None, "b": [1.5, None], "c": {"d": [2, None]}}
    rows = list(csv.reader(io.StringIO(csv_text([["a", float("nan")], *[[name, 1] for name in ODD]]), newline="")))
    assert rows == [["a", ""], *[[name, "1"] for name in ODD]]


def test_missing_metrics_are_nan(tmp_path):
    folder = tmp_path / "split0" / "run"
    folder.mkdir(parents=True)
    metrics = {f"test/{name}": None if name == "krcc" else 0.5 for name in METRICS}
    facts = {"metrics": metrics, "images": 1, "tested_on": {"dataset": "mine", "legacy": []}}
    (folder / "metrics.json").write_text(json.dumps(facts))
    (folder / "predictions.csv").write_text("path,score\na,1\n")
    result = read(Run("split0", tmp_path, ()))
    assert result.metrics["krcc"] != result.metrics["krcc"]
    assert result.metrics["srcc"] == 0.5


def test_tables_of_a_set_with_an_odd_name(tmp_path):
    """A single run has no standard deviation and no interval; dollar signs are not parsed as math in the plot."""
    name = os.fsdecode(b"my $x{$ |\xff\nset")
    result = Result(name, dict.fromkeys(METRICS, 0.5), 3, {"score": ["1"], "human_score": ["1"]})
    markdown = write_tables(tmp_path, {"split0": result}, {"split1": "a|b\nc"})
    assert markdown.startswith(r"# my $x{$ |\udcff set: 1 runs, 1 failed")
    assert r"| split1 | a\|b c |" in markdown
    content = json.loads((tmp_path / "table.json").read_text(), parse_constant=lambda constant: 1 / 0)
    assert content["dataset"] == name
    assert content["summary"]["srcc"]["std"] is None
    assert (tmp_path / "table.png").stat().st_size > 5000
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_failed_write_keeps_the_previous_table(tmp_path, monkeypatch):
    result = Result("mine", dict.fromkeys(METRICS, 0.5), 3, {"score": ["1"], "human_score": ["1"]})
    write_tables(tmp_path, {"split0": result}, {})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    try:
        write_tables(tmp_path, {"split0": result, "split1": result}, {})
    except OSError:
        pass
    else:
        raise AssertionError
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
