"""Sphinx configuration: ``sphinx-build -W --keep-going -b html docs docs/_build/html``."""

import inspect
import os
import re
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, get_origin

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer

import lml_iqa

project = "LML-IQA"
author = "The lml_iqa developers"
copyright = author
release = lml_iqa.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"{project} {release}"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # the anchors that GitHub gives to headings

autodoc_member_order = "bysource"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}  # instead of all that it is short for
autodoc_default_options = {"members": True, "show-inheritance": True}
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

ROOT = Path(__file__).resolve().parents[1]
INCLUDED = {  # documents elsewhere in the repository, and the pages that include them
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "benchmarks/README.md": "results",
    "benchmarks/scale.md": "scale",
    "benchmarks/timm.md": "timm",
    "configs/README.md": "clusters",
    **{
        path.relative_to(ROOT).as_posix(): f"generated/ablation/{path.parent.name}"
        for path in sorted((ROOT / "benchmarks/ablation").glob("*/results.md"))
    },
}
GROUPS = {  # title of the page of each subpackage; subpackages that are not named here get their own name
    "datamodules": "Data modules",
    "datasets": "Data sets",
}


# API reference: a page per subpackage, from the public names of the package


def public_names() -> dict[str, list[str]]:
    """Public names of ``lml_iqa`` by the subpackage that defines them."""
    groups: dict[str, list[str]] = {}
    for name in sorted(lml_iqa.__all__, key=str.lower):
        package, _, module = getattr(getattr(lml_iqa, name), "__module__", "").partition(".")
        if package == "lml_iqa" and module:
            groups.setdefault(module.split(".")[0], []).append(name)
    return groups


def descriptions(package: ModuleType) -> dict[str, list[str]]:
    """Docstrings of a package's module-level names, which Python does not keep."""
    found: dict[str, list[str]] = {}
    source = Path(inspect.getfile(package))
    for file in sorted(source.parent.rglob("*.py")) if source.name == "__init__.py" else [source]:
        module = ".".join(file.relative_to(Path(lml_iqa.__file__).parents[1]).with_suffix("").parts)
        documented = ModuleAnalyzer.for_module(module).find_attr_docs()
        found |= {name: lines for (owner, name), lines in documented.items() if not owner}
    return found


def api_page(group: str, names: list[str]) -> str:
    """Page of a subpackage: its names that ``lml_iqa`` exports, as ``lml_iqa.NAME``, then the others it exports."""
    package, title = import_module(f"lml_iqa.{group}"), GROUPS.get(group, group.capitalize())
    lines = [title, "=" * len(title), ""]
    for name in names:
        lines += directive(getattr(lml_iqa, name), f"lml_iqa.{name}", [])
    heading, described = f"Also in ``lml_iqa.{group}``", descriptions(package)
    others: list[str] = []
    for name in sorted(set(getattr(package, "__all__", ())) - set(lml_iqa.__all__), key=str.lower):
        others += directive(getattr(package, name), f"lml_iqa.{group}.{name}", described.get(name, []))
    return "\n".join([*lines, *([heading, "-" * len(heading), "", *others] if others else [])])


def directive(value: Any, name: str, description: list[str]) -> list[str]:
    """What documents a class, a function, or a type alias (``Positives``, ...); nothing for other values."""
    if inspect.isclass(value):
        return [f".. autoclass:: {name}", ""]
    if inspect.isfunction(value):
        return [f".. autofunction:: {name}", ""]
    if get_origin(value) is not None:
        return [f".. py:data:: {name}", "", *(f"   {line}" for line in description), ""]
    return []


def write_pages(app: Sphinx) -> None:
    """Write ``generated/``: the API pages, and a page for each table of the ablation."""
    pages = {f"generated/api/{group}.rst": api_page(group, names) for group, names in public_names().items()}
    for path, page in INCLUDED.items():
        if page.startswith("generated/"):
            title = f"# Ablation: {PurePosixPath(page).name}"
            pages[f"{page}.md"] = f"---\norphan: true\n---\n\n{title}\n\n```{{include}} ../../../{path}\n```\n"
    for file in Path(app.srcdir, "generated").rglob("*.*"):
        if file.relative_to(app.srcdir).as_posix() not in pages:
            file.unlink()
    for page, text in pages.items():
        file = Path(app.srcdir, page)
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def public_reference(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> Any:
    """Resolve ``lml_iqa.datamodules.base.IQADataModule`` to the documented ``lml_iqa.IQADataModule``."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not (target.startswith("lml_iqa.") or "." not in target):
        return None
    domain, name = env.get_domain("py"), target.split(".")[-1]
    documented = [full for full in domain.objects if full.startswith("lml_iqa.") and full.split(".")[-1] == name]
    if len(documented) != 1:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", documented[0], node, content)


def escape_types(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep ``np.str_`` in the types of attributes from being read as the name of a link."""
    lines[:] = [re.sub(r"_(?=\W)", r"\\_", line) if line.startswith(":vartype ") else line for line in lines]


# Links between pages and documents elsewhere in the repository


def link_to_pages(text: str, folder: PurePosixPath, page: str) -> str:
    """Rewrite the relative links of a document in ``folder`` of the repository for a page of the site."""
    here = PurePosixPath("docs", page).parent

    def rewrite(match: re.Match[str]) -> str:
        path, _, heading = match[1].partition("#")
        if not path:
            return match[0]
        target = os.path.normpath(folder / path)
        if target in INCLUDED:
            target = f"docs/{INCLUDED[target]}.md"
        return f"]({os.path.relpath(target, here)}{'#' + heading if heading else ''})"

    return re.sub(r"\]\((?!\w+:)([^)\s]+)\)", rewrite, text)


def read_page(app: Sphinx, page: str, content: list[str]) -> None:
    """Rewrite the links of a page."""
    if app.env.doc2path(page).suffix == ".md":
        content[0] = link_to_pages(content[0], PurePosixPath("docs", page).parent, page)


def read_included(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    """Rewrite the links of a document that a page includes."""
    folder = PurePosixPath(os.path.normpath(PurePosixPath("docs", path.as_posix()).parent))
    content[0] = link_to_pages(content[0], folder, app.env.docname)


def setup(app: Sphinx) -> None:
    """Connect the hooks above."""
    app.connect("autodoc-process-docstring", escape_types, priority=600)  # after napoleon
    app.connect("builder-inited", write_pages)
    app.connect("missing-reference", public_reference)
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
