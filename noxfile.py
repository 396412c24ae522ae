"""What is done under each version of Python, from the built wheel: `make readme`, or `nox`.

A session's environment has nothing of the project. The page that it follows makes one of its own, with the Python of
this session.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PAGES = ("README.md", "docs/tutorial.md")

nox.needs_version = ">=2025.5"


@nox.session(python=["3.11", "3.12", "3.13"])
@nox.parametrize("page", PAGES)
def readme(session: nox.Session, page: str) -> None:
    """Follow a page word for word, in an empty folder with the wheel."""
    session.install("hatchling>=1.27,<2")
    # Not the session's own folder, which lies in the checkout.
    with tempfile.TemporaryDirectory(prefix="wheel-") as dist:
        session.run("hatchling", "build", "--target", "wheel", "--directory", dist, silent=True)
        [wheel] = Path(dist).glob("*.whl")
        # -P: the modules that stand beside it have nothing to do with it.
        session.run("python", "-P", str(ROOT / "tests" / "following.py"), page, "--wheel", str(wheel))
