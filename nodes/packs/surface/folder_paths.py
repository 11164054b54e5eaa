"""Folders and files, by the names that packs know. Everything is read when asked for, so folders can move."""

import mimetypes
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from nodes.environment import environment
from nodes.packs import model_folders
from nodes.saved_files import PathOutsideFolder, path_inside, plan_save, split_annotation

folder_names_and_paths = model_folders.categories
supported_pt_extensions = model_folders.MODEL_EXTENSIONS

map_legacy = model_folders.current_name
get_filename_list = model_folders.list_files
get_full_path = model_folders.find_file
get_folder_paths = model_folders.folders_of
filter_files_extensions = model_folders.with_extensions

extension_mimetypes_cache = {"webp": "image", "fbx": "model"}
"""What names of these extensions are, before anybody is asked; packs add theirs."""
filename_list_cache: dict[str, Any] = {}
"""Always empty: lists are kept elsewhere, and read again when a directory has changed."""


def get_filename_list_(folder_name: str) -> tuple[list[str], dict[str, float], float]:
    """(names of a category, times of its directories, now)."""
    folders, extensions = folder_names_and_paths[map_legacy(folder_name)]
    names: set[str] = set()
    times: dict[str, float] = {}
    for folder in folders:
        found, found_times = recursive_search(folder, (".git",))
        names.update(filter_files_extensions(found, extensions))
        times.update(found_times)
    return sorted(names), times, time.perf_counter()


def cached_filename_list_(folder_name: str) -> None:
    """None: there is nothing that a caller would have to look at before it asks for a list."""


class CacheHelper:
    """Keeps lists as they are while it is entered. Needed by nobody here; kept for whoever enters it."""

    def __init__(self) -> None:
        self.active = False
        self.cache: dict[str, Any] = {}

    def __enter__(self) -> "CacheHelper":
        self.active = True
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self.active = False

    def get(self, key: str, default: Any = None) -> Any:
        return self.cache.get(key, default) if self.active else default

    def set(self, key: str, value: Any) -> None:
        if self.active:
            self.cache[key] = value

    def clear(self) -> None:
        self.cache.clear()


cache_helper = CacheHelper()


def add_model_folder_path(folder_name: str, full_folder_path: str, is_default: bool = False) -> None:
    model_folders.add_folder(folder_name, full_folder_path, is_default)


def get_full_path_or_raise(folder_name: str, filename: str) -> str:
    path = get_full_path(folder_name, filename)
    if path is None:
        raise FileNotFoundError(f"there is no file {filename!r} in the folders of {folder_name!r}")
    return path


def recursive_search(directory: str,
                     excluded_dir_names: Iterable[str] | None = None) -> tuple[list[str], dict[str, float]]:
    """Relative names of all files below a directory, and the times of its directories."""
    names, times = model_folders.walk_files(directory, excluded_dir_names or ())
    return names, {path: changed / 1e9 for path, changed in times.items() if changed is not None}


def filter_files_content_types(files: Iterable[str], content_types: Iterable[str]) -> list[str]:
    """Those files whose content type, guessed by their names, begins with one of `image`, `audio`, `video` …"""
    wanted = set(content_types)
    return [name for name in files if _content_kind(name) in wanted]


def _content_kind(name: str) -> str:
    known = extension_mimetypes_cache.get(name.rpartition(".")[2].lower())
    if known is not None:
        return known
    # Python knows neither of these two before 3.13 unless the system's tables do.
    if name.lower().endswith((".webp", ".avif")):
        return "image"
    return (mimetypes.guess_type(name, strict=False)[0] or "").partition("/")[0]


# Directories


def get_output_directory() -> str:
    return str(environment.output_directory)


def get_input_directory() -> str:
    return str(environment.input_directory)


def get_temp_directory() -> str:
    return str(environment.temp_directory)


def get_user_directory() -> str:
    return str(environment.user_directory)


def set_output_directory(path: str) -> None:
    environment.output_directory = Path(path).absolute()


def set_input_directory(path: str) -> None:
    environment.input_directory = Path(path).absolute()


def set_temp_directory(path: str) -> None:
    environment.temp_directory = Path(path).absolute()


def set_user_directory(path: str) -> None:
    environment.user_directory = Path(path).absolute()


def get_system_user_directory(name: str = "system") -> str:
    """A folder of the user folder that no route shows.

    :raises ValueError: the name is none for a folder.
    """
    if not name or not name.replace("_", "").isalnum():
        raise ValueError(f"{name!r} is no name of a system folder: use letters, digits and underscores")
    return os.path.join(get_user_directory(), f"__{name}")


def get_public_user_directory(user_id: str) -> str | None:
    """The folder of a user; None for the name of a system folder, and for what is no name."""
    if not user_id or user_id.startswith("__") or os.path.basename(user_id) != user_id or user_id in (".", ".."):
        return None
    return os.path.join(get_user_directory(), user_id)


def get_directory_by_type(type_name: str) -> str | None:
    directory = environment.directory_of(type_name)
    return None if directory is None else str(directory)


def get_input_subfolders() -> list[str]:
    """Sorted names of all folders below the input folder."""
    root = get_input_directory()
    return sorted(os.path.relpath(os.path.join(parent, name), root).replace(os.sep, "/")
                  for parent, directories, _ in os.walk(root) for name in directories)


# Files of prompts


def annotated_filepath(name: str) -> tuple[str, str | None]:
    """`a.png [output]` as the plain name and the directory that it names, or None."""
    plain, kind = split_annotation(name)
    return plain, None if kind is None else get_directory_by_type(kind)


def get_annotated_filepath(name: str, default_dir: str | None = None) -> str:
    """The path of an annotated name; without annotation in `default_dir`, else in the input folder.

    :raises ValueError: it lies outside of that folder.
    """
    plain, directory = annotated_filepath(name)
    directory = directory or default_dir or get_input_directory()
    path_inside(directory, plain)
    return os.path.join(directory, plain)


def exists_annotated_filepath(name: str) -> bool:
    try:
        return os.path.exists(get_annotated_filepath(name))
    except PathOutsideFolder:
        return False


def is_within_directory(directory: str, path: str) -> bool:
    """Whether a path lies in a directory, links followed."""
    try:
        path_inside(directory, os.path.abspath(path))
    except PathOutsideFolder:
        return False
    return True


def get_save_image_path(filename_prefix: str, output_dir: str, image_width: int = 0,
                        image_height: int = 0) -> tuple[str, str, int, str, str]:
    """(folder, file name, counter, subfolder, prefix) for files that a node saves; makes the folder."""
    saved = plan_save(filename_prefix, output_dir, image_width, image_height)
    return saved.folder, saved.name, saved.counter, saved.subfolder, saved.prefix


class _Module(ModuleType):
    """This module: the folders that packs read as its attributes are the environment's, also when assigned."""

    @staticmethod
    def _folder(name: str) -> Any:
        return property(lambda self: str(getattr(environment, name)),
                        lambda self, path: setattr(environment, name, Path(path).absolute()))

    base_path = _folder("base_directory")
    models_dir = _folder("models_directory")
    output_directory = _folder("output_directory")
    input_directory = _folder("input_directory")
    temp_directory = _folder("temp_directory")
    user_directory = _folder("user_directory")
    __file__ = property(lambda self: str(environment.base_directory / "folder_paths.py"))


sys.modules[__name__].__class__ = _Module
