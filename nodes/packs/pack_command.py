"""`hanzo-studio packs`: the packs on this machine, from the command line. It works on folders; no server need run."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from nodes.environment import environment

from . import model_folders
from .pack_folders import PackFolder, PackFolderError, add_pack, list_packs, pack_named, remove_pack, set_enabled
from .pack_requirements import install, package_of

DONE, FAILED = 0, 1
"""Exit statuses; what is written wrongly ends with 2, as argparse has it."""
_TAKES_EFFECT = "A running server takes it up when it is restarted"


def build_pack_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hanzo-studio packs", description="Lists, adds and removes packs of nodes, and switches them off and on.",
        epilog="exit status: 0 done, 1 not done, 2 written wrongly")
    folders = argparse.ArgumentParser(add_help=False)
    folders.add_argument("--base-directory", type=Path, metavar="DIR",
                         help="holds custom_nodes, as for the server (default: the current folder)")
    folders.add_argument("--extra-model-paths-config", type=Path, nargs="+", action="extend", default=[],
                         metavar="FILE", help="YAML files with more folders of packs, as for the server")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, what: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.", parents=[folders])
        one.set_defaults(run=run)
        return one

    command("list", "show all packs, and which packages they lack", _list).add_argument(
        "--json", action="store_true", help="as JSON, with all requirements")
    add = command("add", "copy a folder or a .py file, or clone a repository, into custom_nodes", _add)
    add.add_argument("source", metavar="DIR_OR_GIT", help="a path, or an address such as https://example.com/pack.git")
    add.add_argument("--name", help="what the pack is called (default: the name of its folder or repository)")
    add.add_argument("--revision", metavar="NAME", help="branch or tag of the repository")
    add.add_argument("--yes", action="store_true", help="install its requirements with pip, without asking")
    add.add_argument("--no-requirements", action="store_true", help="install none of them, without asking")
    remove = command("remove", "delete a pack; what pip installed for it stays", _remove)
    remove.add_argument("--yes", action="store_true", help="without asking")
    disable = command("disable", "have the server not load a pack", _disable)
    enable = command("enable", "have the server load a pack again", _enable)
    for one in (remove, disable, enable):
        one.add_argument("name", metavar="NAME", help="as `list` shows it")
    return parser


def run_pack_command(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and answer the exit status. What went wrong is one sentence on stderr."""
    options = build_pack_parser().parse_args(arguments)
    environment.place_under((options.base_directory or Path.cwd()).expanduser().resolve())
    model_folders.place_categories()
    try:
        model_folders.add_all_extra_paths(options.extra_model_paths_config)
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except (PackFolderError, OSError, ValueError) as error:
        print(f"hanzo-studio packs: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("hanzo-studio packs: broken off", file=sys.stderr)
        return FAILED


def _list(options: argparse.Namespace) -> int:
    packs = list_packs(model_folders.pack_folders())
    if options.json:
        print(json.dumps([_as_json(pack) for pack in packs], indent=2))
        return DONE
    if not packs:
        print(f"There are no packs in {', '.join(map(str, model_folders.pack_folders()))}.")
        return DONE
    width = max(len(pack.name) for pack in packs)
    for pack in packs:
        state = "enabled" if pack.is_enabled else "disabled"
        print(f"{pack.name:<{width}}  {state:<8}  {pack.version or '-':<10}  {pack.path}")
        if missing := pack.requirements.missing:
            print(f"{'':<{width}}  not installed: {', '.join(missing)}")
    return DONE


def _as_json(pack: PackFolder) -> dict[str, object]:
    return {"name": pack.name, "path": str(pack.path), "enabled": pack.is_enabled, "version": pack.version,
            "requirements": pack.requirements.packages, "missing": pack.requirements.missing}


def _add(options: argparse.Namespace) -> int:
    pack = add_pack(options.source, model_folders.pack_folders()[0], name=options.name, revision=options.revision)
    print(f"Added {pack.name}: {pack.path}")
    status = _offer_requirements(pack, options)
    print(f"{_TAKES_EFFECT}, or at POST /api/packs/{pack.name}/reload.")
    return status


def _offer_requirements(pack: PackFolder, options: argparse.Namespace) -> int:
    wanted = pack.requirements
    for line in wanted.left_out:
        print(f"Left out of its requirements, since it names no package: {line}")
    if not wanted.packages:
        print("It asks for no packages.")
        return DONE
    missing = set(wanted.missing)
    print("It asks for these packages:")
    for line in wanted.packages:
        print(f"  {line}{'  (not installed)' if package_of(line) in missing else ''}")
    if options.no_requirements or not (
            options.yes or _agrees(f"Install them with pip into the Python of {sys.prefix}? Their code runs then.")):
        print("Nothing was installed.")
        return DONE
    if install(wanted.packages) == 0:
        return DONE
    print("hanzo-studio packs: pip could not install them; the pack is there all the same", file=sys.stderr)
    return FAILED


def _agrees(question: str) -> bool:
    """Whether someone at the terminal says yes; nobody does where there is no terminal."""
    if not sys.stdin.isatty():
        print(f"{question} There is nobody to ask; --yes says yes.")
        return False
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _remove(options: argparse.Namespace) -> int:
    pack = pack_named(options.name, model_folders.pack_folders())
    if not options.yes and not _agrees(f"Delete {pack.path}?"):
        _refuse("Nothing was removed.")
    remove_pack(pack)
    print(f"Removed {pack.name}. {_TAKES_EFFECT}.")
    return DONE


def _refuse(sentence: str) -> NoReturn:
    raise PackFolderError(sentence)


def _disable(options: argparse.Namespace) -> int:
    return _switch(options.name, False)


def _enable(options: argparse.Namespace) -> int:
    return _switch(options.name, True)


def _switch(name: str, is_enabled: bool) -> int:
    pack = pack_named(name, model_folders.pack_folders())
    word = "enabled" if is_enabled else "disabled"
    if pack.is_enabled == is_enabled:
        print(f"{pack.name} is {word} already: {pack.path}")
        return DONE
    print(f"{pack.name} is {word} now: {set_enabled(pack, is_enabled)}. {_TAKES_EFFECT}.")
    return DONE
