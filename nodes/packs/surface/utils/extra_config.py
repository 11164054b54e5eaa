"""Files of further folders, by the name that packs know."""

from pathlib import Path

from nodes.packs.model_folders import add_extra_paths


def load_extra_path_config(yaml_path: str) -> None:
    """Add the folders that a file like `extra_model_paths.yaml` lists.

    :raises ValueError: it is not what it should be.
    """
    add_extra_paths(Path(yaml_path))
