"""Commands and code in the documents work; the paths, links, options and tests that they name exist."""

import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from data.biq2021 import TRAIN
from lightning.pytorch import Trainer
from PIL import Image

from lml_iqa import BIQ2021DataModule, LMLTask, datamodules
from lml_iqa.data_tools import command as data_tools
from lml_iqa.datamodules import IQADataModule
from lml_iqa.experiments import command as protocol
from lml_iqa.experiments.cross import _data_option
from lml_iqa.inference import command as score
from lml_iqa.main import main

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]
DOCUMENTS = [*PAGES, "CONTRIBUTING.md", "benchmarks/README.md", "benchmarks/scale.md"]
LINKED = [*DOCUMENTS, "CHANGELOG.md", "configs/README.md"]
CREATED_BY_READER = {"mine.yaml", "config.yaml", "holiday.py", "train_on_ray.py"}


def blocks(language, documents=PAGES):
    """Return the code blocks of a language, first those of the README, then those of the documentation."""
    text = "".join((ROOT / document).read_text(encoding="utf-8") for document in documents)
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def spans(document):
    """Return the code spans of a document, each joined into one line, and its text without code blocks."""
    text = re.sub(r"^```.*?^```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)], text


def commands(document):
    """Return every command in a document that runs code of this project, as lists of arguments."""
    text = (ROOT / document).read_text(encoding="utf-8")
    fenced = "".join(re.findall(r"^```bash\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)).replace("\\\n", " ")
    found = []
    for line in [*fenced.splitlines(), *spans(document)[0]]:
        words = shlex.split(line.split("&&")[-1], comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            del words[0]
        if words[:3] == ["python", "-m", "lml_iqa"]:
            words[:3] = ["lml-iqa"]
        if words[:1] == ["lml-iqa"] or (words[:1] == ["python"] and len(words) > 1):
            found.append(words)
    return found


COMMANDS = [pytest.param(words, id=" ".join(words)) for document in DOCUMENTS for words in commands(document)]


def test_commands_are_found():
    """Guard for the tests of commands, which would pass if none were found."""
    programs = [param.values[0][1] for param in COMMANDS]
    assert {"fit", "test", "predict", "protocol", "data", "benchmarks/ablation/run.py"} <= set(programs)
    assert len(COMMANDS) >= 50
    assert sum(bool(commands(page)) for page in PAGES) >= 10


def parse_as_fit(subcommand, arguments, folder, capsys):
    """Parse options, with a configuration in place of those in the reader's runs and numbers in place of letters."""
    (folder / "mine.yaml").write_text(blocks("yaml")[0])
    (folder / "holiday.py").write_text(next(code for code in blocks("python") if "HolidaySnaps" in code))
    parsed, words = [subcommand], iter(arguments)
    for word in words:
        if word == "--ckpt_path":
            assert next(words).endswith(".ckpt")
        elif word.endswith("/config.yaml"):
            parsed.append(str(ROOT / "configs" / "biq2021.yaml"))
        else:
            word = {"S": "0", "M": "0"}.get(word, word)
            parsed.append(str(ROOT / word) if word.startswith(("configs/", "benchmarks/")) else word)
    with pytest.raises(SystemExit) as stop:
        main([*parsed, "--print_config"])
    assert stop.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_parses(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    program, *arguments = words[1:]
    if words[0] == "python":
        source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / program).parent.glob("*.py"))
        assert (ROOT / program).is_file()
        passed_on = [word for word in arguments if re.match(r"--(model|data|trainer)\.", word)]
        for option in (word.partition("=")[0] for word in arguments if word.startswith("--") and word not in passed_on):
            assert f'"{option}"' in source
        parse_as_fit("fit", ["--config", "configs/biq2021.yaml", *passed_on], tmp_path, capsys)
    elif program == "data":
        data_tools._parser().parse_args(arguments)
    elif program == "score":
        assert not arguments or score._parser().parse_args(arguments)
    elif program == "configs":
        assert not arguments or (ROOT / "configs" / arguments[0]).is_file()
    elif program == "protocol":
        fit = arguments
        if not arguments[0].startswith("-"):
            content = protocol._read(ROOT / arguments[0])
            assert "parameters" in content or protocol.read_plan(content, {})
            fit = arguments[1:]
        _, fit = protocol._parser().parse_known_args(fit)
        parse_as_fit("fit", fit, tmp_path, capsys)
    else:
        parse_as_fit(program, arguments, tmp_path, capsys)


def named_paths(document):
    """Return the files and folders of the repository that a document names in code."""
    code = [*spans(document)[0], *(" ".join(words) for words in commands(document))]
    found = set(
        re.findall(r"(?<![\w/.-])(?:configs|benchmarks|docs|lml_iqa|tests|notebooks)/[\w./-]*\w", "\n".join(code))
    )
    found |= set(re.findall(r"(?<![\w/.*-])[\w/]+\.(?:yaml|py|sbatch)\b", "\n".join(code)))
    return {name for name in found - CREATED_BY_READER if not name.startswith(("runs/", "OUT", "docs/_build"))}


def includes(document):
    """Return the document that a page includes as its only content, if any."""
    return re.findall(r"\A```\{include\} (\S+)\n```\n\Z", (ROOT / document).read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", PAGES)
def test_included_documents_exist(document):
    assert all((ROOT / document).parent.joinpath(path).is_file() for path in includes(document))


def test_paths_and_links_are_found():
    """Guard for the tests of paths and links, which would pass if none were found."""
    for document in set(DOCUMENTS) - {"CONTRIBUTING.md"} - {page for page in PAGES if page.startswith("docs/")}:
        assert named_paths(document), document
    assert sum(bool(named_paths(page)) for page in PAGES) >= 10
    written = {document for document in LINKED if not includes(document)}
    assert {document for document in written if not links(document)} <= {"CHANGELOG.md", "docs/reference.md"}


def links(document):
    """Return the links of a document to files and headings of the repository."""
    return re.findall(r"\]\((?!http)([^)\s#]*)#?([^)\s]*)\)", spans(document)[1])


@pytest.mark.parametrize("document", LINKED)
def test_every_path_exists(document):
    """Paths are relative to the root, the document's folder, or a folder that the text describes."""
    folders = [ROOT, (ROOT / document).parent, *(ROOT / name for name in ("configs", "benchmarks/ablation", "tests"))]
    tests = {path.name for path in (ROOT / "tests").rglob("*.py")}
    named = named_paths(document) - tests
    assert not [name for name in named if not any((folder / name).exists() for folder in folders)]


@pytest.mark.parametrize("document", LINKED)
def test_every_link_has_a_target(document):
    for path, heading in links(document):
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), path
        if heading:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_option_exists(document, tmp_path, capsys):
    """Options outside commands are known; those with a value are parsed."""
    programs = [path for part in ("lml_iqa", "benchmarks") for path in (ROOT / part).rglob("*.py")]
    known = {"--config", "--ckpt_path", *re.findall(r'"(--\w+)"', "".join(path.read_text() for path in programs))}
    classes = {"model": [LMLTask], "trainer": [Trainer], "data": [IQADataModule, *vars(datamodules).values()]}
    for part, options in classes.items():
        taken = (name for taker in options if inspect.isclass(taker) for name in inspect.signature(taker).parameters)
        known |= {f"--{part}", *(f"--{part}.{name}" for name in taken)}
    valued = []
    for words in (span.split() for span in spans(document)[0] if span.startswith("--")):
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert option.removesuffix("+") in known, option
        if re.match(r"--(model|data|trainer)\.", words[0]) and (len(words) > 1 or "=" in words[0]):
            valued += words
    parse_as_fit("fit", ["--config", "configs/biq2021.yaml", *valued], tmp_path, capsys)


@pytest.mark.parametrize("file", ["benchmarks/cross.yaml", "configs/protocol/cross.yaml"])
def test_data_sets_of_the_cross_dataset_matrix_parse(file):
    plan = protocol.read_plan(protocol._read(ROOT / file), {})
    for name, given in plan.sets.items():
        assert given["class_path"] in _data_option(name, given)


def test_guarantees_name_existing_tests_and_their_tolerances():
    """Every test named in benchmarks/scale.md exists, and the tolerances in its row are in its file."""
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    rows = re.findall(r"^\| (?!guarantee|---)(.+) \|$", (ROOT / "benchmarks/scale.md").read_text(), re.MULTILINE)
    checked = 0
    for cells in (row.split(" | ") for row in rows):
        tests = re.findall(r"\btest_\w+(?=[`\[])", cells[1]) if len(cells) > 2 else []
        files = set()
        for test in tests:
            defined = [path for path, source in sources.items() if f"def {test}(" in source]
            assert defined, test
            files |= set(defined)
        if files and len(cells) == 4 and "test_same_numbers" not in tests:  # reads its tolerances from the table
            for number in re.findall(r"\b\d+e-\d+", cells[2]):
                assert any(number in sources[path] for path in files), (tests, number)
                checked += 1
    assert checked > 5


def test_extras_exist():
    texts = "".join((ROOT / document).read_text(encoding="utf-8") for document in LINKED)
    extras = {name for names in re.findall(r'pip install -e "\.\[([\w,]+)\]"', texts) for name in names.split(",")}
    assert extras == {"quickstart", "test", "litdata", "heif", "jxl", "ray", "docs", "dev"}
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f"\n{extra} = [" in pyproject for extra in extras)


def test_ci_runs_the_first_two_commands():
    first, second = blocks("bash", ["README.md"])[:2]
    assert first.strip() == 'pip install -e ".[quickstart]" && lml-iqa fit --config configs/quickstart.yaml'
    assert second.strip() == 'pip install -e ".[test]" && pytest'
    assert "block 1" in (ROOT / ".ci" / "run").read_text()
    assert "block 2" in (ROOT / ".ci" / "run").read_text()


def test_example_of_another_lightning_project(biq2021_root, tmp_path):
    code = next(code for code in blocks("python") if "MyQualityModel" in code)
    names = {}
    exec(code, names)
    model = names["MyQualityModel"]("test_vit", pretrained=False, decoder_heads=4)
    before = [p.clone() for p in model.pair.teacher.parameters()]
    data = BIQ2021DataModule(biq2021_root, batch_size=4, crops=2, crop_size=32, num_workers=0)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, default_root_dir=tmp_path
    )
    trainer.fit(model, train_dataloaders=data.train_dataloader())
    assert any(not torch.equal(a, b) for a, b in zip(before, model.pair.teacher.parameters(), strict=True))
    scores = trainer.predict(model, dataloaders=data.predict_dataloader())
    assert sum(len(score) for score, _ in scores) == 18


def test_example_of_a_new_data_set(tmp_path):
    code = next(code for code in blocks("python") if "HolidaySnaps" in code)
    command = next(line for line in "".join(blocks("bash")).splitlines() if "HolidaySnaps" in line)
    (tmp_path / "holiday.py").write_text(code)
    photos = tmp_path / "snaps" / "photos_small"
    photos.mkdir(parents=True)
    rows = {f"{i}.png": 1 + i / 2 for i in range(8)}
    for name in rows:
        Image.effect_noise((40, 32), 50).save(photos / name)
    labels = photos.parent / "metadata" / "scores.csv"
    labels.parent.mkdir()
    labels.write_text("photo,mos\n" + "".join(f"{name.upper()},{mos}\n" for name, mos in rows.items()))
    args = command.replace("configs/", f"{ROOT}/configs/").replace("DIR", "snaps").split()
    tiny = ["--model.backbone=test_vit", "--model.pretrained=false", "--model.decoder_heads=4", "--data.crop_size=32"]
    done = subprocess.run(
        [sys.executable, *args[1:], *tiny, "--data.num_workers=0", "--trainer.max_epochs=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    split = json.loads((tmp_path / "runs" / "biq2021" / "version_0" / "split.json").read_text())
    assert sorted([*split["train"], *split["val"], *split["test"]]) == sorted(rows)


def test_example_of_own_ratings(biq2021_root, tmp_path, monkeypatch):
    (overlay,) = blocks("yaml")
    photos = tmp_path / "photos"
    photos.symlink_to(biq2021_root / "Images", target_is_directory=True)
    (tmp_path / "ratings.csv").write_text(
        "path,score\n" + "\n".join(f"{name},{score}" for name, score in TRAIN.items()), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(overlay)
    assert yaml.safe_load(overlay)["data"]["init_args"]["labels"] == "ratings.csv"
    main(
        ["fit", "--config", str(ROOT / "configs" / "biq2021.yaml"), "--config", "mine.yaml"]
        + ["--model.backbone=test_vit", "--model.pretrained=false", "--model.decoder_heads=4"]
        + ["--data.crop_size=32", "--data.num_workers=0", "--data.val_fraction=0.3"]
        + ["--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
    )
    assert Path("runs/biq2021/version_0/report.png").is_file()
