"""Where a pack keeps files for the browser: as its pyproject.toml says, and as its module says."""

import logging
import tomllib
from pathlib import Path
from types import ModuleType

from .pack_import import PackPlace

logger = logging.getLogger(__name__)


def web_directories_of(place: PackPlace, module: ModuleType) -> dict[str, str]:
    """Absolute paths of folders by the name that browsers use; a folder that does not exist is left out."""
    folder = place.folder
    found = _web_directory_of_project(folder) if place.is_folder else {}
    web = getattr(module, "WEB_DIRECTORY", None)
    if isinstance(web, str) and (folder / web).is_dir():
        found[place.name] = str((folder / web).absolute())
    return found


def _web_directory_of_project(pack: Path) -> dict[str, str]:
    """`[tool.comfy] web = "dir"`, under the name of the project."""
    file = pack / "pyproject.toml"
    if not file.is_file():
        return {}
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8-sig"))
        name, web = project["project"]["name"], project["tool"]["comfy"]["web"]
        if (pack / web).is_dir():
            return {str(name): str(pack / web)}
    except (KeyError, TypeError):
        pass  # it says nothing of a web folder
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("pack %s: its pyproject.toml cannot be read: %s", pack.name, error)
    return {}
