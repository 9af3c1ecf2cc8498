"""``lml-iqa data`` on valid and invalid data sets, through the command line."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from data import benchmarks as made
from data.benchmarks import LAYOUTS
from PIL import Image

from lml_iqa.data_tools import check, recognize
from lml_iqa.datasets import BENCHMARKS, DatasetError, Split, make_split
from lml_iqa.main import main

SETS = {benchmark.__name__.lower(): benchmark for benchmark in BENCHMARKS}


def command(capsys, *arguments):
    """Exit status and output of `lml-iqa data`."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["data", *map(str, arguments)])
    return stop.value.code, capsys.readouterr()


def examine(capsys, root, *more):
    """Exit status and JSON output, after checking that the text output agrees."""
    status, answer = command(capsys, "check", root, "--json", *more)
    diagnosis = json.loads(answer.out)
    text_status, text = command(capsys, "check", root, *more)
    assert text_status == status == (0 if diagnosis["usable"] else 1)
    for finding in diagnosis["findings"]:
        assert finding["what"] in text.out
        assert finding["cure"] in text.out
    return status, diagnosis


def only(diagnosis, severity, what):
    """The only finding of a severity that matches ``what``."""
    (finding,) = [f for f in diagnosis["findings"] if f["severity"] == severity and re.search(what, f["what"])]
    return finding


@pytest.fixture
def tid2013(tmp_path):
    return LAYOUTS["tid2013"](tmp_path / "tid2013")


def relabel(root, change):
    """Change the label file of TID2013."""
    labels = root / "mos_with_names.txt"
    labels.write_text(change(labels.read_text()))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("above", [0, 2])
def test_every_layout_is_recognized_and_valid(capsys, tmp_path, layout, above):
    root = LAYOUTS[layout](tmp_path / "a" / "b")
    given = tmp_path if above else root
    status, diagnosis = examine(capsys, given, "--headers_only")
    dataset = SETS[layout.split("_")[0]]
    assert (status, diagnosis["dataset"], diagnosis["root"]) == (0, dataset.name, str(given))
    table = dataset(root).load()
    facts = diagnosis["facts"]
    assert facts["rows"] == facts["images_found"] == len(table)
    assert facts["published_rows"] == dataset.images
    assert facts["scores"]["lowest"] == pytest.approx(table.scores.min())
    assert facts["scores"]["higher_is_better"] == table.scale.higher_is_better
    if table.references is not None:
        assert facts["references"] == len(set(table.references))
    assert only(diagnosis, "warning", "a subset")["what"].startswith(f"{len(table)} of the {dataset.images} rows")
    assert not [f for f in diagnosis["findings"] if "not in the label file" in f["what"]]


def test_real_data(capsys, shared_data):
    status, diagnosis = examine(capsys, shared_data / "BIQ2021", "--headers_only")
    assert status == 0
    assert diagnosis["facts"]["parts"] == {"train": 3201, "test": 799}
    assert diagnosis["facts"]["sizes"]["median"] == "512x512"
    assert {f["severity"] for f in diagnosis["findings"]} == {"warning"}


def test_missing_surplus_unreadable_and_duplicate_images(capsys, tid2013):
    images = sorted((tid2013 / "distorted_images").iterdir())
    images[0].unlink()
    cut = images[1].read_bytes()
    images[1].write_bytes(cut[: len(cut) // 2])
    shutil.copy(images[2], images[3])
    shutil.copy(images[4], images[0].with_name("i99_01_1.bmp"))
    images[5].with_name("._i01_01_1.bmp").touch()
    status, diagnosis = examine(capsys, tid2013)
    assert status == 1
    missing = only(diagnosis, "problem", "1 of 54 listed images are missing")
    assert [name.lower() for name in missing["files"]] == [f"distorted_images/{images[0].name}".lower()]
    assert "unpack the set again" in missing["cure"]
    assert only(diagnosis, "problem", "1 images cannot be read")["files"] == [f"distorted_images/{images[1].name}"]
    assert only(diagnosis, "warning", "not in the label file")["files"] == ["distorted_images/i99_01_1.bmp"]
    copies = only(diagnosis, "warning", "byte-for-byte")["files"]
    assert copies == [f"distorted_images/{images[2].name} = distorted_images/{images[3].name}"]
    assert [f["severity"] for f in diagnosis["findings"]] == ["problem"] * 2 + ["warning"] * 4
    headers, quick = examine(capsys, tid2013, "--headers_only")
    assert headers == 1
    assert not [f for f in quick["findings"] if "cannot be read" in f["what"]]  # its header is intact


def test_reversed_scores(capsys, tmp_path):
    scores = [(n, 9 - s) for n, s in SETS["tid2013"].landmarks.items()]
    status, diagnosis = examine(capsys, made.write_tid2013(tmp_path, [*scores, ("i01_01_1.bmp", 5.5)]))
    assert status == 1
    reversed_ = only(diagnosis, "problem", "are reversed: i09_24_5.bmp has 8.75758, published in TID2013 is 0.24242")
    assert "higher_is_better" in reversed_["cure"]


def test_rescaled_and_changed_scores(capsys, tmp_path):
    scores = [(name, score / 100) for name, score in {**made.LIVEC, **SETS["livec"].landmarks}.items()]
    status, diagnosis = examine(capsys, made.write_livec(tmp_path, scores))
    assert status == 1
    assert (
        "low and high"
        in only(diagnosis, "problem", r"another scale: 673.JPG has 0.0342, published in LIVEC is 3.42")["cure"]
    )
    assert len(only(diagnosis, "warning", "8 scores differ from the published ones")["files"]) == 8


def test_rows_of_another_file(capsys, tid2013, monkeypatch):
    relabel(tid2013, lambda text: text + text.splitlines()[0] + "\n")
    twice = only(examine(capsys, tid2013)[1], "problem", "images are listed more than once")
    assert twice["files"] == [next(iter(made.TID2013)).lower()]
    monkeypatch.setattr(SETS["tid2013"], "images", 50)
    assert only(examine(capsys, tid2013)[1], "problem", "lists 55 rated images, but TID2013 has 50")["cure"]
    relabel(tid2013, lambda text: text.replace("5.", "55.", 1))
    off = only(examine(capsys, tid2013)[1], "problem", r"scores are outside the scale 0\.\.9")
    assert "55." in off["files"][0]


def test_unreadable_labels(capsys, tid2013):
    relabel(tid2013, lambda text: text.replace(" ", " x ", 1))
    status, diagnosis = examine(capsys, tid2013)
    assert status == 1
    finding = only(diagnosis, "problem", r"mos_with_names\.txt, line 1: ")
    assert finding["cure"] == "give the original label file"
    assert finding["cure"] not in finding["what"]
    assert "scores" not in diagnosis["facts"]


def test_missing_images_folder(capsys, tid2013):
    (tid2013 / "distorted_images").rename(tid2013 / "elsewhere")
    status, diagnosis = examine(capsys, tid2013)
    assert status == 1
    assert only(diagnosis, "problem", "none of them is in .*distorted_images")


def test_missing_label_file(capsys, tmp_path):
    root = LAYOUTS["spaq_testimage"](tmp_path / "spaq")
    shutil.rmtree(root / "Annotations")
    status, diagnosis = examine(capsys, root)
    assert (status, diagnosis["dataset"]) == (1, "SPAQ")
    cure = only(diagnosis, "problem", f"^SPAQ: no label file in {root}")["cure"]
    assert cure.startswith(
        "set data.root to the folder that contains 'Annotations/MOS and Image attribute scores.xlsx'"
    )


SAME_FOLDERS = {  # data sets whose image folders have the same names
    "tid2013": "TID2013 or KADID-10k",
    "kadid10k_community": "TID2013 or KADID-10k",
    "kadid10k_official": "KADID-10k or LIVEC or BIQ2021",
    "livec": "KADID-10k or LIVEC or BIQ2021",
    "koniq10k_sets_512x384": "KonIQ-10k or SPAQ",
    "koniq10k_metadata_both": "KonIQ-10k or SPAQ",
}


@pytest.mark.parametrize("above", [0, 1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_recognized_by_images(tmp_path, layout, above):
    root = LAYOUTS[layout](tmp_path / "a" / "b")
    dataset = SETS[layout.split("_")[0]]
    for labels in dataset.labels_in:
        (root / labels).unlink(missing_ok=True)
    for landmark in (path for name in dataset.landmarks for path in root.rglob(name)):
        landmark.unlink()
    given = [root, root.parent, root.parent.parent][above]
    if layout in SAME_FOLDERS:
        with pytest.raises(DatasetError, match=f"could be {SAME_FOLDERS[layout]};"):
            recognize(given)
    else:
        assert recognize(given) is dataset
    if layout in SAME_FOLDERS:
        made.picture(root / dataset.images_in[0] / list(dataset.landmarks)[-1])
        assert recognize(given) is dataset


def test_live_without_labels(tmp_path):
    root = LAYOUTS["live"](tmp_path) / "databaserelease2"
    for labels in root.glob("dmos*.mat"):
        labels.unlink()
    made.picture(root / "wn" / "img20.bmp")
    assert recognize(root).name == "LIVE"


def test_other_label_files_are_noted(capsys, tmp_path):
    root = LAYOUTS["koniq10k_metadata_both"](tmp_path)
    note = only(examine(capsys, root)[1], "note", "koniq10k_scores_and_distributions.csv is read")
    assert note["files"] == ["metadata/koniq10k_distributions_sets.csv"]


def test_ambiguous_folder(capsys, tmp_path):
    root = LAYOUTS["kadid10k_community"](tmp_path)
    (root / "dmos.csv").unlink()
    status, answer = command(capsys, "check", root)
    assert status == 2
    assert f"{root}: could be TID2013 or KADID-10k; select one with --set" in answer.err
    for name in ("kadid10k", "KADID-10k", "Kadid_10K"):
        if "_" in name:
            assert command(capsys, "check", root, "--set", name)[0] == 2
        else:
            status, diagnosis = examine(capsys, root, "--set", name)
            assert (status, diagnosis["dataset"]) == (1, "KADID-10k")


def test_folders_without_a_data_set(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name, expected in {
        "empty": "no known data set (found: nothing)",
        "file": "is a file; set data.root to the folder",
        "gone": "does not exist",
    }.items():
        status, answer = command(capsys, "check", tmp_path / name, "--json")
        assert (status, answer.out) == (2, "")
        assert str(tmp_path / name) in answer.err
        assert expected in answer.err
    with pytest.raises(DatasetError, match=r"TID2013: mos_with_names\.txt"):
        recognize(tmp_path / "empty")


def test_images_are_decoded_by_default(tid2013):
    image = sorted((tid2013 / "distorted_images").iterdir())[0]
    image.write_bytes(image.read_bytes()[:100])
    assert check(tid2013).problems
    assert not check(tid2013, decode=False).problems


def test_broken_links_and_empty_images(capsys, tid2013):
    links = sorted((tid2013 / "distorted_images").iterdir())[:2]
    for link in links:
        link.unlink()
        link.symlink_to(tid2013 / "moved" / link.name)
    empty = sorted((tid2013 / "distorted_images").iterdir())[2:4]
    for file in empty:
        file.write_bytes(b"")
    status, diagnosis = examine(capsys, tid2013)
    assert status == 1
    unreadable = only(diagnosis, "problem", "4 images cannot be read")["files"]
    assert unreadable == [f"distorted_images/{file.name}" for file in links + empty]
    assert not [f for f in diagnosis["findings"] if "byte-for-byte" in f["what"]]


def test_published_range_of_scores(capsys, tid2013):
    assert examine(capsys, tid2013)[1]["facts"]["scores"]["published"] == "0.24242..7.21429"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["show", "--output", "gone/sheet.png"], "gone/sheet.png: cannot be written"),
        (["split", "--output", "gone/split.json"], "gone/split.json: cannot be written"),
        (["show", "--output", "."], ".: cannot be written"),
        (["show", "--images", "0"], "at least 1, not 0"),
        (["split", "--split_seed", "-1"], "at least 0, not -1"),
    ],
)
def test_invalid_requests(capsys, tid2013, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    status, answer = command(capsys, *arguments, tid2013)
    assert (status, answer.out) == (2, "")
    assert expected in answer.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["tid2013"]


def test_suggested_command_is_quoted(capsys, tmp_path):
    root = LAYOUTS["tid2013"](tmp_path / "my sets")
    _, answer = command(capsys, "check", root, "--headers_only")
    assert shlex.split(answer.out.splitlines()[-1])[-2:] == ["--data.root", str(root)]


def test_sheet(capsys, tid2013, tmp_path):
    output = tmp_path / "sheet.png"
    status, answer = command(capsys, "show", tid2013, "--output", output, "--images", 12)
    assert (status, answer.out.strip().splitlines()[-1]) == (0, str(output))
    with Image.open(output) as sheet:
        assert sheet.width > 1000
        assert len(sheet.convert("RGB").getcolors(10**7)) > 200
        rows = sheet.height
    command(capsys, "show", tid2013, "--output", output, "--images", 24)
    with Image.open(output) as sheet:
        assert sheet.height > rows  # more images, more rows


def test_split_file(capsys, tid2013, tmp_path):
    output = tmp_path / "split.json"
    status, _ = command(capsys, "split", tid2013, "--output", output, "--split_seed", 3)
    assert status == 0
    table = SETS["tid2013"](tid2013).load()
    written, expected = Split.load(output, table), make_split(table, seed=3)
    for part in ("train", "val", "test"):
        assert getattr(written, part).tolist() == getattr(expected, part).tolist()
    assert (written.rule, written.seed) == ("reference", 3)


def test_official_split_of_flive(capsys, tmp_path):
    root = LAYOUTS["flive"](tmp_path / "flive")
    command(capsys, "split", root, "--output", tmp_path / "split.json", "--split", "official")
    test = json.loads((tmp_path / "split.json").read_text())["test"]
    assert sorted(test) == sorted(name.casefold() for name, part in made.FLIVE_PARTS.items() if part == "test")


def test_subprocess(tid2013):
    done = subprocess.run(
        [sys.executable, "-m", "lml_iqa", "data", "check", str(tid2013)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"TID2013 in {tid2013}"
    assert done.stdout.splitlines()[-1].endswith(f"lml-iqa fit --config configs/tid2013.yaml --data.root {tid2013}")
