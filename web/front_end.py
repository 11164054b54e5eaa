"""Which page is served at `/`: our own, that of an installed package, or any folder with a built front end.

The package is a program of its own. It is neither imported nor copied: only its folder of files is looked up.
"""

import importlib.metadata
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

PACKAGE = "comfyui-frontend-package"
OWN_PAGE = Path(__file__).parent / "ui"


class Page(NamedTuple):
    """What is served."""

    directory: Path
    warnings: tuple[str, ...] = ()
    """What whoever started the server should know."""


class NoFrontEnd(Exception):
    """The page that was asked for is not there. The message is a sentence."""


def page_of(options: Namespace) -> Page:
    """The page that the start options ask for; a folder that was named wins.

    :raises NoFrontEnd: it does not exist.
    """
    if options.front_end_root is not None:
        root = options.front_end_root.expanduser().resolve()
        if not (root / "index.html").is_file():
            raise NoFrontEnd(f"--front-end-root: {root} has no index.html")
        return Page(root)
    if options.front_end != "own":
        if (installed := installed_front_end()) is None:
            raise NoFrontEnd(f"--front-end {options.front_end}: the package {PACKAGE} is not installed; "
                             f"install it with: pip install {PACKAGE}")
        return _pinned(installed, options.front_end_version)
    if options.front_end_version is not None:
        if (installed := installed_front_end()) is None:
            return Page(OWN_PAGE, (f"--front-end-version: nothing is downloaded, and the package {PACKAGE} is not "
                                   "installed; our own page is served",))
        return _pinned(installed, options.front_end_version)
    return Page(OWN_PAGE)


def _pinned(installed: tuple[Path, str], wanted: str | None) -> Page:
    directory, version = installed
    number = None if wanted is None else wanted.rpartition("@")[2].removeprefix("v")
    if number is None or number in (version, "latest", "prerelease"):
        return Page(directory)
    return Page(directory, (f"--front-end-version: nothing is downloaded; version {version} of {PACKAGE} is installed "
                            "and served",))


def installed_front_end() -> tuple[Path, str] | None:
    """The folder of the installed package's files, the one with `index.html`, and its version; None without it."""
    try:
        package = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    pages = [file for file in package.files or () if file.name == "index.html"]
    for page in sorted(pages, key=lambda file: len(file.parts)):
        path = Path(str(package.locate_file(page)))
        if path.is_file():
            return path.resolve().parent, package.version
    return None
