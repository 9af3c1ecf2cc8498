"""The dispatcher of the command line, and the shipped configurations."""

import subprocess
import sys
from pathlib import Path

import pytest

import lml_iqa
from lml_iqa import shipped
from lml_iqa.main import main

CONFIGS = Path(__file__).parents[1] / "configs"


def status(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code


def test_help_names_every_command(capsys):
    assert status(["--help"]) == 0
    out = capsys.readouterr().out
    for command in ("fit", "validate", "test", "predict", "score", "data", "protocol", "configs"):
        assert f"\n  {command} " in out
    assert status([]) == 2


def test_version(capsys):
    assert status(["--version"]) == 0
    assert capsys.readouterr().out == f"lml-iqa {lml_iqa.__version__}\n"


def test_unknown_command():
    assert "'fti' is not one of the commands fit, validate" in status(["fti", "--config", "x.yaml"])


@pytest.mark.parametrize(
    "arguments", [["--help"], ["configs"], ["fit", "--config", "no_such.yaml"], ["fti"], ["--version"]], ids=str
)
def test_no_heavy_imports(arguments):
    code = (
        "import sys\nfrom lml_iqa.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'lightning', 'numpy', 'wandb', 'timm') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_configs_are_listed_and_copied(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert status(["configs"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml"))
    assert status(["configs", "tid2013.yaml"]) == 0
    assert (tmp_path / "tid2013.yaml").read_bytes() == (CONFIGS / "tid2013.yaml").read_bytes()
    assert status(["configs", "tid2013.yaml"]) == 2  # would overwrite an edited copy
    assert status(["configs", "tid2013.yaml", "mine.yaml"]) == 0
    assert status(["configs", "tid.yaml"]) == 2
    assert "tid.yaml: not one of" in capsys.readouterr().err


def test_shipped_configurations_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["fit", "--config", "tid2013.yaml", "--trainer=configs/trainer/cpu.yaml", "--data.split", "mine.yaml"]
    found = shipped.find_all(given)
    assert [Path(found[2]).resolve(), Path(found[3].partition("=")[2]).resolve()] == [
        CONFIGS / "tid2013.yaml",
        CONFIGS / "trainer" / "cpu.yaml",
    ]
    assert found[4:] == given[4:]
    (tmp_path / "tid2013.yaml").touch()
    assert shipped.find("tid2013.yaml") == "tid2013.yaml"  # files take precedence
    for wrong in ("no_such.yaml", "../pyproject.yaml", "trainer"):
        arguments = ["fit", "--config", wrong]
        if wrong == "trainer":
            assert shipped.find_all(arguments) == arguments  # left to the parser
        else:
            assert f"error: {wrong}: no such file" in status(arguments)
