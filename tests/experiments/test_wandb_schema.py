"""wandb without a server: drawn values reach the command line, and runs write the same files as others."""

import itertools
import json
import math
import os
import random
import sys
from functools import reduce
from pathlib import Path
from queue import Queue
from types import SimpleNamespace

import pytest
import wandb
import yaml
from data.benchmarks import LAYOUTS
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args, load_sweep_config

from lml_iqa.experiments.repeats import Repeats
from lml_iqa.main import main

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "configs" / "sweep").glob("*.yaml"))
TINY = [
    "--model.backbone=test_vit",
    "--model.pretrained=false",
    "--model.decoder_heads=4",
    "--trainer.accelerator=cpu",
    "--trainer.precision=32-true",
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--data.crop_size=32",
    "--data.eval_crops=4",
    "--data.batch_size=4",
    "--data.num_workers=0",
]
AGENTS = ROOT / "configs" / "protocol" / "agents.yaml"
every_sweep = pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def wandb_offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    wandb.finish()


def values(parameter):
    """Values to test of a parameter: all of a list; the ends of a range and a value between."""
    if "values" in parameter:
        return parameter["values"]
    low, high = parameter["min"], parameter["max"]
    share = random.Random(0).random()
    between = {
        "uniform": low + share * (high - low),
        "log_uniform_values": low ** (1 - share) * high**share if low > 0 else math.nan,
    }
    return [low, between[parameter["distribution"]], high]


def draws(sweep):
    """Configurations that together contain every value of every parameter."""
    lists = {name: values(parameter) for name, parameter in sweep["parameters"].items()}
    for i in range(max(map(len, lists.values()))):
        yield {name: drawn[i % len(drawn)] for name, drawn in lists.items()}


def command_line(sweep, drawn):
    """Command line that a wandb agent would run."""
    filled = create_sweep_command_args({"args": {name: {"value": value} for name, value in drawn.items()}})
    filled["env"] = ["/usr/bin/env"]
    parts = create_sweep_command(list(sweep["command"]))
    return list(itertools.chain.from_iterable(filled[p[2:-1]] if p.startswith("${") else [p] for p in parts))


def resolved(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--print_config"])
    printed = capsys.readouterr()
    assert stop.value.code == 0, printed.err
    return yaml.safe_load(printed.out)


def option(config, name):
    """Value of a dotted option in a resolved configuration."""
    return reduce(lambda part, key: part[key] if key in part else part["init_args"][key], name.split("."), config)


@pytest.mark.parametrize("path", [*SWEEPS, AGENTS], ids=lambda path: path.stem)
def test_wandb_accepts_the_file(path):
    schema = pytest.importorskip(
        "sweeps.config", reason="wandb's schema: pip install --no-deps sweeps jsonref; pip install jsonschema"
    )
    sweep = load_sweep_config(str(path))
    assert schema.schema_violations_from_proposed_config(sweep) == []
    sweep["parameters"]["model.lr"] = {"distribution": "log_uniform_values", "min": 0, "max": 1.0}
    assert schema.schema_violations_from_proposed_config(sweep)


@every_sweep
def test_structure_of_the_file(path):
    sweep = load_sweep_config(str(path))
    assert set(sweep) <= {"project", "name", "program", "method", "run_cap", "metric", "parameters", "command"}
    assert sweep["metric"] == {"name": "val/srcc", "goal": "maximize"}
    if sweep["method"] == "grid":
        assert all("values" in parameter for parameter in sweep["parameters"].values())
    else:
        assert sweep["run_cap"] <= 40
    for parameter in sweep["parameters"].values():
        assert len(values(parameter)) > 1
        assert all(value == value for value in values(parameter))


@every_sweep
def test_drawn_values_reach_the_command_line(path, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(ROOT)
    for variable in ("TID2013_ROOT", "LIVEC_ROOT"):
        monkeypatch.setenv(variable, str(tmp_path))
    sweep = load_sweep_config(str(path))
    for drawn in draws(sweep):
        env, program, *arguments = command_line(sweep, drawn)
        assert [env, program] == ["/usr/bin/env", sweep["program"]]
        config = resolved(arguments, capsys)
        assert {name: option(config, name) for name in drawn} == drawn
        assert option(config, "trainer.logger.class_path").endswith(".WandbLogger")
        assert option(config, "trainer.logger.name") is None
        assert config["test_after_fit"] is False
        if path.stem != "quickstart":
            assert option(config, "data.root") == str(tmp_path)


def test_unknown_parameter(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    sweep = load_sweep_config(str(ROOT / "configs" / "sweep" / "quickstart.yaml"))
    sweep["parameters"]["model.lamda_manifold"] = sweep["parameters"].pop("model.lambda_manifold")
    _, _, *arguments = command_line(sweep, next(draws(sweep)))
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--print_config"])
    assert stop.value.code == 2
    assert "model.lamda_manifold" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tid2013", "livec"])
def test_sweep_run_logs_its_metric(name, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    layout = next(layout for layout in LAYOUTS if layout.startswith(name))
    monkeypatch.setenv(f"{name.upper()}_ROOT", str(LAYOUTS[layout](tmp_path / name)))
    sweep = load_sweep_config(str(ROOT / "configs" / "sweep" / f"{name}.yaml"))
    drawn = list(draws(sweep))[1]
    _, _, *arguments = command_line(sweep, drawn)
    main([*arguments, *TINY, f"--trainer.logger.save_dir={tmp_path / 'runs'}"])
    assert sweep["metric"]["name"] in dict(wandb.run.summary)
    assert not [metric for metric in dict(wandb.run.summary) if metric.startswith("test/")]
    for option_name, value in drawn.items():
        part, _, key = option_name.partition(".")
        if part == "model":
            assert wandb.run.config[key] == value
    assert (tmp_path / "runs" / "lml-iqa" / wandb.run.id / "checkpoints" / "best.ckpt").is_file()


def test_an_agent_runs_the_quickstart_sweep_without_a_server(monkeypatch, tmp_path):
    """wandb's agent loop, from heartbeat to exit status, with a mocked server that sends two runs of the grid."""
    agent = pytest.importorskip("wandb.wandb_agent")
    server = pytest.importorskip("wandb.apis.public.sweeps")
    calls = ("_sweep_with_runs", "_register_agent", "_agent_heartbeat")
    if not all(hasattr(server, name) for name in calls):
        pytest.skip(f"this wandb ({wandb.__version__}) calls its server through other functions")
    sweep = load_sweep_config(str(ROOT / "configs" / "sweep" / "quickstart.yaml"))
    tiny = [*TINY, "--data.crops=2", "--data.types=[8]", f"--data.cache={tmp_path}", "--model.freeze_backbone=false"]
    place = sweep["command"].index("${args}")
    sweep["command"][place:place] = [*tiny, "--model.saliency=joint_attention", f"--trainer.logger.save_dir={tmp_path}"]
    drawn = list(draws(sweep))[:2]
    orders = [
        [{"type": "run", "run_id": f"run{n}", "program": "lml-iqa", "args": {k: {"value": v} for k, v in each.items()}}]
        for n, each in enumerate(drawn)
    ]

    def heartbeat(api, agent_id, metrics, running):
        return [] if running or not orders else orders.pop(0)

    monkeypatch.setattr(wandb, "Api", SimpleNamespace)  # the real class requires a key
    monkeypatch.setattr(server, "_sweep_with_runs", lambda *args, **kwargs: {"config": yaml.safe_dump(sweep)})
    monkeypatch.setattr(server, "_register_agent", lambda *args, **kwargs: {"id": "agent"})
    monkeypatch.setattr(server, "_agent_heartbeat", heartbeat)
    monkeypatch.setattr(agent.Agent, "POLL_INTERVAL", 0.05)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # lml-iqa is there
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    for variable in ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.setenv(variable, "")  # set by the agent for its runs; restored after the test
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    monkeypatch.chdir(ROOT)
    loop = agent.Agent(wandb.Api(), Queue(), sweep_id="sweep", count=2)
    loop.run()
    assert (loop._finished, loop._failed) == (2, 0)
    for n, each in enumerate(drawn):
        config = yaml.safe_load((tmp_path / "lml-iqa" / f"run{n}" / "config.yaml").read_text())
        assert {name: option(config, name) for name in each} == each
        assert (tmp_path / "lml-iqa" / f"run{n}" / "checkpoints" / "best.ckpt").is_file()
        assert len(list((tmp_path / "wandb").glob(f"offline-run-*-run{n}"))) == 1


def fit(root, folder, *logger):
    """Train and test on the tiny BIQ2021, and return the run's folder."""
    before = set(folder.rglob("metrics.json"))
    main(
        ["fit", "--config", str(ROOT / "configs" / "biq2021.yaml"), f"--data.root={root}", "--data.val_fraction=0.25"]
        + [*TINY, "--model.freeze_backbone=false", *logger, f"--trainer.logger.save_dir={folder}"]
    )
    (metrics,) = set(folder.rglob("metrics.json")) - before
    return metrics.parent


def files_of(run):
    """Files of a run, without those of its logger and the lock."""
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and "tfevents" not in path.name}
    return files - {".lock", "metrics.csv", "hparams.yaml"}


@pytest.fixture(scope="module")
def csv_run(biq2021_root, tmp_path_factory):
    return fit(biq2021_root, tmp_path_factory.mktemp("csv"))


def test_wandb_runs_write_the_same_files(csv_run, biq2021_root, tmp_path):
    logger = ["--trainer.logger=WandbLogger", "--trainer.logger.project=mine", "--trainer.logger.name=null"]
    runs, configs = [], []
    for _ in range(2):
        runs.append(fit(biq2021_root, tmp_path, *logger))
        assert runs[-1] == tmp_path / "mine" / wandb.run.id
        configs.append(dict(wandb.run.config))
        assert {"val/srcc", "test/srcc", "train/loss_epoch"} <= set(dict(wandb.run.summary))
        wandb.finish()
    assert runs[0] != runs[1]
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2
    for run, logged in zip(runs, configs, strict=True):
        assert files_of(run) == files_of(csv_run)
        assert {"checkpoints/best.ckpt", "config.yaml", "split.json", "environment.json"} <= files_of(run)
        assert (run / "split.json").read_text() == (csv_run / "split.json").read_text()
        metrics, expected = (json.loads((r / "metrics.json").read_text())["metrics"] for r in (run, csv_run))
        assert metrics == expected
        assert logged["lambda_manifold"] == 0.1
        assert logged["config"] == yaml.safe_load((run / "config.yaml").read_text())
        assert logged["environment"] == json.loads((run / "environment.json").read_text())


def test_tensorboard_runs_write_the_same_files(csv_run, biq2021_root, tmp_path):
    pytest.importorskip("tensorboard")
    run = fit(biq2021_root, tmp_path, "--trainer.logger=TensorBoardLogger", "--trainer.logger.name=mine")
    assert run == tmp_path / "mine" / "version_0"
    assert files_of(run) == files_of(csv_run)
    assert list(run.glob("events.out.tfevents.*"))
    logged = yaml.safe_load((run / "hparams.yaml").read_text())
    assert logged["config"] == yaml.safe_load((run / "config.yaml").read_text())


def test_agents_share_the_splits_of_a_table(monkeypatch):
    monkeypatch.setenv("TID2013_ROOT", "somewhere")
    sweep = load_sweep_config(str(AGENTS))
    seen = []
    monkeypatch.setattr(Repeats, "run", lambda self, out, splits, fit, jobs: seen.append((out, *splits, *fit)) or 0)
    for drawn in draws(sweep):
        _, program, *arguments = command_line(sweep, drawn)
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert (program, stop.value.code) == ("lml-iqa", 0)
    options = ("--config=configs/tid2013.yaml", "--data.root=somewhere")
    assert seen == [(Path("runs/tid2013_repeats"), n, *options) for n in range(10)]
