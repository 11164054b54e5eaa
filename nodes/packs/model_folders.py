"""Where model files lie: the folders and file extensions of each category, and the files of paths that add more.

`categories` is one live table for the process. Packs get to see the table itself, not a copy: they add
categories, folders and extensions to it, and whoever lists or finds files reads it each time.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml
from yaml.reader import ReaderError

from nodes.environment import environment

Category = tuple[list[str], set[str]]
"""Folders, first one first, and the extensions of the files that count; an empty set counts all."""

MODEL_EXTENSIONS = {".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"}
"""What categories accept unless they say otherwise: all share this one set, so a pack extends it for all."""

LEGACY_NAMES = {"unet": "diffusion_models", "clip": "text_encoders"}
PACKS = "custom_nodes"
RESERVED_KEYS = ("base_path", "is_default")
USUAL_FILE = "extra_model_paths.yaml"

_FURTHER_FOLDERS = {"text_encoders": ("clip",), "diffusion_models": ("unet",), "controlnet": ("t2i_adapter",)}
_OTHER_EXTENSIONS = {"configs": {".yaml"}, "diffusers": {"folder"}, "datasets": set(), "fonts": {".ttf", ".otf"}}
_NAMES = (
    "checkpoints", "configs", "loras", "vae", "text_encoders", "diffusion_models", "clip_vision", "style_models",
    "embeddings", "diffusers", "vae_approx", "controlnet", "gligen", "upscale_models", PACKS, "hypernetworks",
    "photomaker", "classifiers", "model_patches", "audio_encoders", "latent_upscale_models", "datasets",
    "background_removal", "frame_interpolation", "geometry_estimation", "optical_flow", "detection", "fonts",
)

categories: dict[str, Category] = {}


def place_categories() -> None:
    """Fill the table with the usual categories below the folders of `environment`, and nothing else."""
    categories.clear()
    for name in _NAMES:
        if name == PACKS:
            categories[name] = ([str(environment.base_directory / PACKS)], set())
            continue
        folders = [str(environment.models_directory / folder) for folder in (name, *_FURTHER_FOLDERS.get(name, ()))]
        extensions = _OTHER_EXTENSIONS.get(name)
        categories[name] = (folders, MODEL_EXTENSIONS if extensions is None else set(extensions))


def current_name(category: str) -> str:
    """The name that a category goes by today."""
    return LEGACY_NAMES.get(category, category)


def folders_of(category: str) -> list[str]:
    """A copy of the folders of a category.

    :raises KeyError: there is no such category.
    """
    return list(categories[current_name(category)][0])


def pack_folders() -> list[Path]:
    """Where packs are looked for."""
    return [Path(folder) for folder in folders_of(PACKS)]


def add_folder(category: str, folder: str, is_default: bool = False) -> None:
    """Append a folder, or put it first; a category that is new accepts every extension."""
    folders, _ = categories.setdefault(current_name(category), ([], set()))
    if folder in folders:
        if not is_default:
            return
        folders.remove(folder)
    folders.insert(0 if is_default else len(folders), folder)


# --- files of paths ----------------------------------------------------------------------------------------


class ExtraFolder(NamedTuple):
    """One folder that a file of paths adds."""

    category: str
    folder: str
    is_default: bool


def add_all_extra_paths(further: Iterable[Path]) -> None:
    """Add the folders of `extra_model_paths.yaml` in the base directory and beside the server, where there is one,
    and those of further files.

    :raises ValueError: see `read_extra_paths`.
    :raises OSError: a file cannot be read.
    """
    application = Path(__file__).resolve().parents[2]
    usual = dict.fromkeys(folder / USUAL_FILE for folder in (environment.base_directory, application))
    for file in [*(one for one in usual if one.is_file()), *further]:
        add_extra_paths(file)


def add_extra_paths(file: Path) -> None:
    """Add the folders that a file like `extra_model_paths.yaml` lists.

    :raises ValueError: see `read_extra_paths`.
    :raises OSError: it cannot be read.
    """
    folders = read_extra_paths(file)
    defaults = [one for one in folders if one.is_default]
    for one in [one for one in folders if not one.is_default] + defaults[::-1]:  # of the first, the first stays first
        add_folder(*one)


def read_extra_paths(file: Path) -> list[ExtraFolder]:
    """The folders that a file of paths lists, in its order, as absolute paths.

    :raises ValueError: it is not what it should be; the message names file and line.
    :raises OSError: it cannot be read.
    """
    file = file.absolute()
    text = _text_of(file)
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None or _is_empty(root):
            return []
        found: list[ExtraFolder] = []
        for name, section in _entries(loader, root, file, "the file"):
            if not _is_empty(section):
                found += _folders_of_section(loader, section, file, f"section {name!r}")
        return found
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise ValueError(f"{file}, line {line}: not valid YAML: {error.problem or error.context}") from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"{file}, line {line}: not valid YAML: it has a character that is none of text") from error
    except RecursionError:
        raise ValueError(f"{file}, line 1: nested too deeply") from None
    finally:
        if loader is not None:
            loader.dispose()


def _text_of(file: Path) -> str:
    text = file.read_bytes()
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{file}, line {line}: not UTF-8 text") from None


def _folders_of_section(loader: yaml.SafeLoader, section: yaml.Node, file: Path, what: str) -> list[ExtraFolder]:
    entries = dict(_entries(loader, section, file, what))
    base = file.parent
    if "base_path" in entries:
        written = _path_text(entries["base_path"], file, f"base_path of {what}")
        base = base / os.path.expandvars(os.path.expanduser(written.strip()))
    is_default = False
    if "is_default" in entries:
        value: Any = loader.construct_object(entries["is_default"], deep=True)
        if not isinstance(value, bool):
            _refuse(file, entries["is_default"], f"is_default of {what} should be true or false, not {value!r}")
        is_default = value
    found = []
    for category, node in entries.items():
        if category in RESERVED_KEYS or _is_empty(node):
            continue
        for line in _path_text(node, file, f"{category!r} of {what}").splitlines():
            if line.strip():
                folder = os.path.abspath(base / line.strip())
                found.append(ExtraFolder(current_name(category), folder, is_default))
    return found


def _entries(loader: yaml.SafeLoader, node: yaml.Node, file: Path, what: str) -> Iterable[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        _refuse(file, node, f"{what} should be a mapping of names")
    loader.flatten_mapping(node)
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            _refuse(file, key, f"a name in {what} should be plain text")
        yield key.value, value


def _path_text(node: yaml.Node, file: Path, what: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        _refuse(file, node, f"{what} should be a path, or several on lines of their own after `|`")
    if "\0" in node.value:
        _refuse(file, node, f"{what} is not a path")
    return str(node.value)


def _is_empty(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _refuse(file: Path, node: yaml.Node, problem: str) -> NoReturn:
    raise ValueError(f"{file}, line {node.start_mark.line + 1}: {problem}")


# --- the files of a category -------------------------------------------------------------------------------


class _Listing(NamedTuple):
    asked: tuple[tuple[str, ...], frozenset[str]]
    times: dict[str, int | None]
    names: list[str]


_listings: dict[str, _Listing] = {}


def list_files(category: str) -> list[str]:
    """Sorted names of the files of a category, relative to its folders; read again when a directory changed.

    :raises KeyError: there is no such category.
    """
    name = current_name(category)
    folders, extensions = categories[name]
    asked = (tuple(folders), frozenset(extensions))
    kept = _listings.get(name)
    if kept is None or kept.asked != asked or any(_changed_at(one) != time for one, time in kept.times.items()):
        names: set[str] = set()
        times: dict[str, int | None] = {}
        for folder in folders:
            files, folder_times = walk_files(folder, (".git",))
            names.update(with_extensions(files, extensions))
            times.update(folder_times)
        kept = _listings[name] = _Listing(asked, times, sorted(names))
    return list(kept.names)


def find_file(category: str, name: str) -> str | None:
    """The path of a category's file: in its first folder that has it. `..` does not lead out of a folder.

    None if there is no such file, or no such category.
    """
    folders, _ = categories.get(current_name(category), ([], set()))
    inside = os.path.normpath(os.path.join(os.sep, name)).lstrip(os.sep)
    if "\0" in inside:
        return None
    return next((path for folder in folders if os.path.isfile(path := os.path.join(folder, inside))), None)


def walk_files(folder: str, skipped: Iterable[str] = ()) -> tuple[list[str], dict[str, int | None]]:
    """Relative names of all files below a folder, links followed, and when each directory there changed last.

    A folder that does not exist has no files, and None as its time. A link back to where the walk came from is
    not followed.
    """
    names: list[str] = []
    times: dict[str, int | None] = {folder: _changed_at(folder)}
    left_out = set(skipped)
    for parent, directories, files in os.walk(folder, followlinks=True):
        real_parent = Path(os.path.realpath(parent))
        directories[:] = [one for one in directories if one not in left_out
                          and not real_parent.is_relative_to(os.path.realpath(os.path.join(parent, one)))]
        times.update((path, _changed_at(path)) for one in directories for path in [os.path.join(parent, one)])
        names += [os.path.relpath(os.path.join(parent, one), folder) for one in files]
    return names, times


def with_extensions(names: Iterable[str], extensions: Iterable[str]) -> list[str]:
    """Those names that have one of the extensions, sorted; all of them if there are none."""
    wanted = set(extensions)
    return sorted(name for name in names if not wanted or os.path.splitext(name)[1].lower() in wanted)


def _changed_at(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None
