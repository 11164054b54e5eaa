"""The options of the command line. Only the standard library is imported: `--help` answers at once."""

import argparse
import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from .feature_flags import known_flags_as_json
from .options_without_effect import add_options_without_effect, note_without_effect

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
LEVELS = ("DEBUG", "DETAIL", "INFO", "WARNING", "ERROR", "CRITICAL")
DETAIL = (logging.DEBUG + logging.INFO) // 2
"""More than INFO tells, less than DEBUG."""
FRONT_ENDS = ("own", "comfyui")
HASHES = ("md5", "sha1", "sha256", "sha512")

_PINNED_FRONT_END = re.compile(r"[\w.-]+/[\w.-]+@(?:latest|prerelease|v?\d+(?:\.\d+)*(?:[-.+][\w.-]+)?)")


def size(text: str) -> int:
    """Bytes of a text such as `256MB`, `4GiB` or `1000000`. Units are powers of 1024."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 256MB, say")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def pool(text: str) -> tuple[str, int]:
    """`NAME=TOKENS`."""
    name, sign, tokens = text.partition("=")
    if not sign or not name.strip() or not tokens.strip().isdigit() or int(tokens) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no pool; write NAME=TOKENS with at least one token, cpu=4, say")
    if name.strip() == "gpu" and int(tokens) != 1:
        # Nodes that declare nothing take its token so that they never run beside each other.
        raise argparse.ArgumentTypeError("the pool gpu has one token: packs use the first device, one node at a time")
    return name.strip(), int(tokens)


def at_least(least: float, kind: type) -> "type":
    """A number that is not smaller than `least`."""
    def parse(text: str) -> float:
        try:
            number: float = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
        if not math.isfinite(number):
            raise argparse.ArgumentTypeError(f"{text} is no finite number")
        if number < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return number

    return parse  # type: ignore[return-value]


def port(text: str) -> int:
    """A port number; 0 takes any that is free."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; ports go from 0 to 65535")
    return number


_AGE = re.compile(r"(\d+)\s*([smhdw])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def keep_rule(text: str) -> tuple[int | None, int | None]:
    """How long, in seconds, and how many bytes of history are kept: `30d,2GB`, one of them, or `all`."""
    age: int | None = None
    most: int | None = None
    for part in [] if text.strip().lower() == "all" else text.split(","):
        match = _AGE.fullmatch(part.strip())
        if match is not None:
            age = int(match[1]) * _SECONDS[match[2].lower()]
        else:
            try:
                most = size(part.strip())
            except argparse.ArgumentTypeError:
                raise argparse.ArgumentTypeError(
                    f"{part.strip()!r} is neither an age (12h, 30d) nor a size (500MB, 2GB)") from None
    return age, most


def addresses(text: str) -> str:
    """Addresses separated by commas. An empty one would mean every address there is."""
    named = [one.strip() for one in text.split(",")]
    if not all(named):
        raise argparse.ArgumentTypeError(f"{text!r} holds an empty address; write 0.0.0.0 for all of them")
    return ",".join(named)


def front_end_version(text: str) -> str:
    """`OWNER/REPOSITORY@VERSION`."""
    if _PINNED_FRONT_END.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} names no version; write OWNER/REPOSITORY@1.2.3 or @latest")
    return text


class _LogLevel(argparse.Action):
    """`--verbose [LEVEL [FILE]]`: without a file it is the console's level, with one the file's."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: str | Sequence[Any] | None, option_string: str | None = None) -> None:
        said = list(values or ["DEBUG"])
        level, files = str(said[0]).upper(), said[1:]
        if level not in LEVELS:
            raise argparse.ArgumentError(self, f"{level!r} is no level; choose from {', '.join(LEVELS)}")
        if len(files) > 1:
            raise argparse.ArgumentError(self, "it takes a level and one file")
        if files:
            namespace.log_files = [*namespace.log_files, (level, Path(files[0]))]
        else:
            setattr(namespace, self.dest, level)


class _CacheInMemory(argparse.Action):
    """`--cache-ram [GB [GB]]`: what is kept by default anyway; the two limits have no counterpart here."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: str | Sequence[Any] | None, option_string: str | None = None) -> None:
        limits = list(values or ())
        if len(limits) > 2:
            raise argparse.ArgumentError(self, "it takes at most two sizes")
        setattr(namespace, self.dest, limits)
        if limits:
            note_without_effect(namespace, "the sizes after --cache-ram",
                                "outputs are bounded by their own size; --cache-bytes sets it")


class _ListFlags(argparse.Action):
    """Prints the known flags, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> NoReturn:
        print(known_flags_as_json())
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of `server.py` and `hanzo-studio`."""
    parser = argparse.ArgumentParser(
        prog="hanzo-studio", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Serves node graphs: submit workflows over REST, watch them over WebSocket, see them in a browser.",
        epilog="example: hanzo-studio --port 9000 --base-directory ~/studio --pool cpu=4 --pool blocking=32\n"
               "`hanzo-studio packs --help` tells how packs of nodes are listed, added and removed.\n"
               "Options that start scripts of similar servers give and that mean nothing here are accepted with a\n"
               "warning; docs/options.md lists them.")
    parser.set_defaults(log_files=[])
    for add in (_add_address, _add_page, _add_folders, _add_running, _add_queue, _add_keeping, _add_keeping_on_disk,
                _add_nodes, _add_logs, add_options_without_effect):
        add(parser)
    return parser


# -- the groups, in the order of --help --------------------------------------------------------------------------


def _add_address(parser: argparse.ArgumentParser) -> None:
    address = parser.add_argument_group("address")
    address.add_argument("--listen", type=addresses, nargs="?", const="0.0.0.0,::", default="127.0.0.1",
                         metavar="ADDRESS,...",
                         help="addresses to listen on (default 127.0.0.1; without a value: all of them)")
    address.add_argument("--port", type=port, default=8188, help="port to listen on (default 8188)")
    address.add_argument("--enable-cors-header", nargs="?", const="*", metavar="ORIGIN",
                         help="let pages of this origin use the server (without a value: of any origin)")
    address.add_argument("--max-upload-size", type=at_least(0.001, float), default=100.0, metavar="MB",
                         help="largest body of a request (default 100)")
    address.add_argument("--tls-keyfile", type=Path, metavar="FILE",
                         help="private key (PEM); with --tls-certfile the server speaks https and wss")
    address.add_argument("--tls-certfile", type=Path, metavar="FILE", help="certificate (PEM), with its chain")
    address.add_argument("--enable-compress-response-body", action="store_true",
                         help="compress JSON and text for clients that accept gzip")
    address.add_argument("--multi-user", action="store_true", help="keep settings and files of several users apart")
    address.add_argument("--offline", action="store_true", help="pages may reach this server only, nothing elsewhere")


def _add_page(parser: argparse.ArgumentParser) -> None:
    page = parser.add_argument_group("page")
    page.add_argument("--front-end", choices=FRONT_ENDS, default=FRONT_ENDS[0],
                      help="what / serves: our own page, or the front end of the extra package of that name")
    page.add_argument("--front-end-root", type=Path, metavar="DIR", help="serve this folder with a built front end")
    page.add_argument("--front-end-version", type=front_end_version, metavar="OWNER/REPO@VERSION",
                      help="serve the front end package if it is installed, and say so if it is another version; "
                           "nothing is ever downloaded")
    page.add_argument("--feature-flag", action="append", default=[], metavar="KEY[=VALUE]",
                      help="a flag more for clients to read; repeatable; a bare key is true")
    page.add_argument("--list-feature-flags", action=_ListFlags, nargs=0, help="print the known flags, and end")
    page.add_argument("--auto-launch", action="store_true", help="open the page in a browser when it is ready")
    page.add_argument("--disable-auto-launch", action="store_true", help="open no browser, whatever else says so")
    page.add_argument("--windows-standalone-build", action="store_true", help="the same as --auto-launch")


def _add_folders(parser: argparse.ArgumentParser) -> None:
    folders = parser.add_argument_group("folders")
    folders.add_argument("--base-directory", type=Path, metavar="DIR",
                         help="holds input, output, temp, user, models and custom_nodes (default: the current folder)")
    for name, what in (("input", "where uploads go and images are loaded from"), ("output", "where images are saved"),
                       ("temp", "where previews are saved; emptied at start and at stop"),
                       ("user", "settings of users")):
        folders.add_argument(f"--{name}-directory", type=Path, metavar="DIR",
                             help=f"{what} (default: {name} in the base directory)")
    folders.add_argument("--models-directory", type=Path, metavar="DIR",
                         help="where model files lie (default: models in the base directory)")
    folders.add_argument("--extra-model-paths-config", type=Path, nargs="+", action="extend", default=[],
                         metavar="FILE", help="YAML files with more folders, of packs (custom_nodes) and of models")


def _add_running(parser: argparse.ArgumentParser) -> None:
    running = parser.add_argument_group("running prompts")
    running.add_argument("--pool", type=pool, action="append", default=[], metavar="NAME=TOKENS",
                         help="size of a resource pool; repeatable (default gpu=1, cpu one a core, any other 16)")
    running.add_argument("--max-running-prompts", type=at_least(1, int), default=4, metavar="N",
                         help="the next prompt starts while fewer than N compute or wait for a token (default 4); "
                              "1 runs prompts strictly one after the other")
    running.add_argument("--cancel-grace", type=at_least(0, float), default=5.0, metavar="SECONDS",
                         help="how long the clean-up of a cancelled async node is waited for (default 5)")
    running.add_argument("--hook-timeout", type=at_least(0.001, float), default=60.0, metavar="SECONDS",
                         help="how long a validator, a change check, a declaration of inputs or a cache of a pack may "
                              "take (default 60)")
    running.add_argument("--run-timeout", type=at_least(0, float), default=0.0, metavar="SECONDS",
                         help="how long one call of a node may take, if neither the prompt nor its class says (default "
                              "0: without end)")
    running.add_argument("--idle-timeout", type=at_least(0, float), default=0.0, metavar="SECONDS",
                         help="the same, counted from its last progress (default 0: without end)")
    running.add_argument("--loop", choices=("auto", "asyncio", "uvloop"), default="auto",
                         help="the event loop; auto takes uvloop where it is installed")


def _add_queue(parser: argparse.ArgumentParser) -> None:
    queue = parser.add_argument_group("queue and history")
    queue.add_argument("--store", choices=("disk", "memory"), default="disk",
                       help="where queue and history are kept: in the user folder, so that a crash loses nothing, or "
                            "nowhere (default disk)")
    queue.add_argument("--keep-history", type=keep_rule, default=keep_rule("30d,2GB"), metavar="AGE,SIZE",
                       help="how long and how much of ended prompts is kept; one of the two or both, or all "
                            "(default 30d,2GB)")
    queue.add_argument("--max-queue", type=at_least(0, int), default=10_000, metavar="N",
                       help="prompts that may wait; further ones are answered with 429 (default 10000; 0: any number)")
    queue.add_argument("--on-start", choices=("run", "paused"), default="run",
                       help="whether what is queued runs at once after a start (default run)")
    queue.add_argument("--max-attempts", type=at_least(1, int), default=2, metavar="N",
                       help="starts of a prompt during which the process may end, until the prompt is taken to be the "
                            "reason and fails (default 2)")


def _add_keeping(parser: argparse.ArgumentParser) -> None:
    keeping = parser.add_argument_group("keeping outputs (at most one)").add_mutually_exclusive_group()
    keeping.add_argument("--cache-bytes", type=size, metavar="SIZE",
                         help="keep outputs up to this size, least recently used go first (default: an eighth of the "
                              "memory that the process may use, at most 4GB)")
    keeping.add_argument("--cache-ram", action=_CacheInMemory, nargs="*", type=at_least(0, float), metavar="GB",
                         help="the default; accepted sizes have no effect")
    keeping.add_argument("--cache-classic", action="store_true", help="keep what the latest prompt uses, no more")
    keeping.add_argument("--high-ram", action="store_true", help="the same as --cache-classic")
    keeping.add_argument("--cache-lru", type=at_least(1, int), metavar="N", help="keep the outputs of N nodes")
    keeping.add_argument("--cache-none", action="store_true", help="keep nothing longer than its consumers need it")


def _add_keeping_on_disk(parser: argparse.ArgumentParser) -> None:
    on_disk = parser.add_argument_group("keeping outputs on disk")
    on_disk.add_argument("--cache-disk", type=size, default=size("2GB"), metavar="SIZE",
                         help="outputs that took long are kept in the user folder while their prompt is unfinished, so "
                              "that it goes on from there after a crash; up to this size (default 2GB; 0: none)")
    on_disk.add_argument("--cache-disk-after", type=at_least(0, float), default=1.0, metavar="SECONDS",
                         help="how long a node must have taken for its outputs to be kept there (default 1)")
    on_disk.add_argument("--cache-disk-keep", action="store_true",
                         help="they outlive their prompt, and are used by later ones until their nodes' code changes")


def _add_nodes(parser: argparse.ArgumentParser) -> None:
    nodes = parser.add_argument_group("nodes and files")
    nodes.add_argument("--disable-all-custom-nodes", action="store_true", help="load no packs")
    nodes.add_argument("--whitelist-custom-nodes", nargs="+", action="extend", default=[], metavar="NAME",
                       help="load these packs although all others are disabled")
    nodes.add_argument("--disabled-nodes-config", type=Path, metavar="FILE",
                       help="YAML file with the names of classes that are left out")
    nodes.add_argument("--cuda-device", metavar="LIST", help="the GPUs that are used: 0, or 1,0, or all (default all)")
    nodes.add_argument("--cpu", action="store_true", help="use no GPU")
    nodes.add_argument("--default-hashing-function", choices=HASHES, default="sha256", metavar="NAME",
                       help=f"for packs that ask for it: {', '.join(HASHES)} (default sha256)")
    nodes.add_argument("--disable-metadata", action="store_true",
                       help="saved images carry neither prompt nor workflow")
    nodes.add_argument("--preview-size", type=at_least(1, int), default=512, metavar="PIXELS",
                       help="longest side of previews that nodes do not size themselves (default 512)")
    nodes.add_argument("--allow-private-urls", action="store_true",
                       help="LoadImageFromURL and webhooks may reach private, loopback and link-local addresses")


def _add_logs(parser: argparse.ArgumentParser) -> None:
    logs = parser.add_argument_group("logs")
    logs.add_argument("--verbose", action=_LogLevel, nargs="*", default="INFO", metavar=("LEVEL", "FILE"),
                      help="how much is logged (default INFO; without a value: DEBUG); with a file, how much is "
                           "logged there too; repeatable")
    logs.add_argument("--log-stdout", action="store_true", help="log to the standard output, not to the error output")
    logs.add_argument("--quick-test-for-ci", action="store_true", help="load everything, then end")
