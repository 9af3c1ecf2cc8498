"""Image file formats, and which of them are supported."""

from __future__ import annotations

import importlib
from functools import lru_cache
from importlib.util import find_spec

from PIL import Image, features

# Formats that Pillow identifies but does not decode to pixels.
NOT_PIXELS = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})

_OPTIONAL = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}  # optional features of a Pillow build
_PLUGINS = {"heif": "pillow_heif", "jxl": "pillow_jxl"}  # by the extra that installs them

# Image files that Pillow does not read without plug-ins.
_HEIF = ".heic .heics .heif .heifs .hif"
_CAMERA_RAW = (
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .k25 .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw "
    ".rw2 .rwl .sr2 .srf .srw .x3f"
)
_OTHERS = (
    ".ai .avif .avifs .bpg .cin .cdr .dcm .dpx .emf .eps .exr .flif .fpx .hdr .j2k .jls .jp2 .jpx .jxr .kra .pam .pgf "
    ".ps .psb .svg .svgz .wdp .webp .wmf .xcf"
)
_CURES = {
    **dict.fromkeys(_HEIF.split(), 'pip install "lml-iqa[heif]"'),
    ".jxl": 'pip install "lml-iqa[jxl]"',
    **dict.fromkeys(f"{_CAMERA_RAW} {_OTHERS}".split(), "export them as PNG or JPEG"),
}


@lru_cache(maxsize=1)
def register_plugins() -> None:
    """Register the Pillow plug-ins for HEIC and JPEG XL, if installed."""
    if find_spec(_PLUGINS["heif"]) is not None:
        importlib.import_module(_PLUGINS["heif"]).register_heif_opener()
    if find_spec(_PLUGINS["jxl"]) is not None:
        importlib.import_module(_PLUGINS["jxl"])


@lru_cache(maxsize=1)
def image_endings() -> frozenset[str]:
    """File name extensions of the supported formats, with the dot and in lower case."""
    register_plugins()
    kinds = Image.registered_extensions()  # also loads all of Pillow's plug-ins, which fills Image.OPEN
    lacking = {kind for kind, feature in _OPTIONAL.items() if not features.check(feature)}
    readable = (Image.OPEN.keys() | {"MPO"}) - NOT_PIXELS - lacking
    return frozenset(ending for ending, kind in kinds.items() if kind in readable)


@lru_cache(maxsize=1)
def unreadable_endings() -> dict[str, str]:
    """File name extensions of unsupported image formats, each with its cure."""
    return {ending: cure for ending, cure in _CURES.items() if ending not in image_endings()}
