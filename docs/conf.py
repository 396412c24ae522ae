"""How Sphinx makes a site of these pages: `make docs`.

The pages are plain Markdown that also reads on a code host: no directive is in them. So two things are done here. The
source folder is the repository's root, so that links from a page to the README or to an example lead somewhere. And the
table of contents is read off docs/index.md: each of its headings is a caption, each link below it an entry. A page that
is not linked there is in no table of contents, which Sphinx warns of, and `make docs` takes a warning for an error.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from sphinx.application import Sphinx

project = "routilux"
author = "the authors of routilux"
html_title = "routilux"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**"]
exclude_patterns = [".*", "build", "tests"]  # nothing there is a page, and to walk through .venv takes seconds
nitpicky = True
myst_heading_anchors = 4  # links such as flow.md#options-of-a-routine
html_theme = "furo"
html_show_copyright = False
html_show_sourcelink = False

_HEADING = re.compile(r"## (?P<caption>.+)")
_LINK = re.compile(r"\]\((?P<page>[^)\s#:]+)\.md\)")


def setup(app: Sphinx) -> None:
    """Have the front page's links become the table of contents."""
    app.connect("source-read", _append_contents)


def _append_contents(_app: Sphinx, page: str, source: list[str]) -> None:
    if page == root_doc:
        source[0] += _contents(source[0])


def _contents(text: str) -> str:
    """Give the hidden `toctree` of each heading of the front page."""
    lines: list[str] = []
    seen: set[str] = set()
    for line in text.splitlines():
        if found := _HEADING.fullmatch(line):
            lines += ["```", "", "```{toctree}", ":hidden:", f":caption: {found['caption']}", ""]
        else:
            pages = [found["page"] for found in _LINK.finditer(line) if found["page"] not in seen]
            lines += [f"/{_resolve(found)}" for found in pages]
            seen.update(pages)
    return "\n".join(["", *lines[1:], "```", ""])


def _resolve(link: str) -> PurePosixPath:
    """Give the name that Sphinx has for a page that docs/index.md links to."""
    *up, name = link.rpartition("../")
    return PurePosixPath(name if any(up) else f"docs/{name}")
