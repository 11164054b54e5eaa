"""Regular expressions: what they find, and that no pattern can stop the process, its prompt's end or another search."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import nodes.regex
from nodes.regex import RegexExtract, RegexMatch, RegexReplace
from nodes.regex_process import MOST_KEPT, RegexProcess, RegexProcesses, SearchLost

ROOT = Path(__file__).resolve().parents[2]
ENDLESS = {"operation": "matches", "pattern": ["(a+)+$", True, False, False], "arguments": {"string": "a" * 99 + "b"}}
QUICK = {"operation": "matches", "pattern": ["a", True, False, False], "arguments": {"string": "A"}}


@pytest.fixture
def processes(monkeypatch):
    """Processes of this test alone, all ended after it."""
    own = RegexProcesses()
    monkeypatch.setattr(nodes.regex, "processes", own)
    yield own
    own.end_all()


def match(string, pattern, *, case_insensitive=True, multiline=False, dotall=False):
    return RegexMatch.execute(string, pattern, case_insensitive, multiline, dotall)[0]


def extract(string, pattern, mode, group_index=1, **flags):
    flags = {"case_insensitive": True, "multiline": False, "dotall": False, **flags}
    return RegexExtract.execute(string, pattern, mode, group_index=group_index, **flags)[0]


def replace(string, pattern, replacement, **options):
    return RegexReplace.execute(string, pattern, replacement, **options)[0]


# --- what is found ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("string", "pattern", "flags", "matches"),
    [
        ("xx ABC", "abc", {}, True),
        ("xx ABC", "abc", {"case_insensitive": False}, False),
        ("a\nb", "^b$", {}, False),
        ("a\nb", "^b$", {"multiline": True}, True),
        ("a\nb", "a.b", {}, False),
        ("a\nb", "a.b", {"dotall": True}, True),
        ("", "", {}, True),
        ("a", "(", {}, False),
        ("a", "(" * 3000 + ")" * 3000, {}, False),
        ("a", "(?a)(?u)a", {}, False),
        ("\ud800é", "é", {}, True),
    ],
)
def test_match(string, pattern, flags, matches):
    assert match(string, pattern, **flags) is matches


@pytest.mark.parametrize(
    ("pattern", "mode", "index", "found"),
    [
        (r"\w=(\d)", "First Match", 7, "a=1"),
        (r"\w=\d", "All Matches", 7, "a=1\nB=2\nc=3"),
        (r"(\w)=(\d)", "All Matches", 2, "a\nB\nc"),
        (r"(\w)=(\d)", "First Group", 2, "1"),
        (r"(\w)=(\d)", "First Group", 0, "a=1"),
        (r"\w=\d", "First Group", 0, "a=1"),
        (r"(\w)=(\d)", "First Group", 3, ""),
        (r"(\w)=(\d)", "First Group", -1, ""),
        (r"(\w)=(\d)", "All Groups", 2, "1\n2\n3"),
        (r"(\w)=(\d)", "All Groups", 0, "a=1\nB=2\nc=3"),
        (r"(\w)=(\d)", "All Groups", 3, ""),
        (r"\w=\d", "All Groups", 0, ""),
        (r"(b)?(\w)?=", "First Group", 1, ""),
        (r"(b)|=", "All Groups", 1, "\nB\n\n"),
        (r"(b)|=", "All Matches", 1, "\nB\n\n"),
        *[(pattern, mode, 1, "")
          for pattern in ("nowhere", "(") for mode in ("First Match", "All Matches", "First Group", "All Groups")],
    ],
)  # fmt: skip
def test_extract(pattern, mode, index, found):
    assert extract("a=1 B=2 c=3", pattern, mode, index) == found


def test_extract_heeds_flags():
    assert extract("a\nA", "^a", "All Matches", multiline=True, case_insensitive=False) == "a"
    assert extract("a\nA", "a.*", "First Match", dotall=True) == "a\nA"
    with pytest.raises(ValueError, match="unknown mode 'Sideways'"):
        extract("a", "a", "Sideways")


def test_replace():
    assert replace("a-B", r"(\w)-(?P<last>\w)", r"\g<last>+\1") == "B+a"
    assert replace("aAa", "a", "x") == "xxx"
    assert replace("aAa", "a", "x", case_insensitive=False, count=1) == "xAa"
    assert replace("a\nb", "^.", "-", multiline=True) == "-\n-"
    assert replace("a\nb", "a.b", "-", dotall=True) == "-"
    assert replace("ab", "", "-") == "-a-b-"


@pytest.mark.parametrize(("pattern", "replacement"), [("(", "x"), ("a", r"\1"), ("a", r"\g<name>"), ("a", r"\g<")])
def test_replace_by_what_is_no_pattern_raises(pattern, replacement):
    with pytest.raises(re.error):
        replace("bbb", pattern, replacement)


def test_what_is_no_text_is_said_to_be_none(processes):
    with pytest.raises(ValueError, match="TypeError"):
        match(5, "a")
    with pytest.raises(TypeError, match="not JSON serializable"):
        match(b"a", "a")
    assert match("a", "a") is True


# --- the process -----------------------------------------------------------------------------------------


def test_an_interrupt_ends_a_search_that_never_would(processes, engine, monkeypatch):
    engine.stop_after = 2
    searching = RegexProcess()
    with pytest.raises(engine.Interrupted):
        searching.ask(ENDLESS)
    assert searching.is_alive
    searching.end()
    assert not searching.is_alive


def test_the_process_of_an_interrupted_search_is_ended_and_the_next_one_has_another(processes, engine):
    engine.stop_after = 2
    with pytest.raises(engine.Interrupted):
        match("a" * 99 + "b", "(a+)+$")
    assert processes.count == 0
    engine.stop_after = None
    assert match("a", "a") is True
    assert processes.count == 1


def test_others_search_meanwhile(processes, monkeypatch):
    """The endless search holds no lock of this process: its thread asks again and again whether to stop."""
    import execution

    is_searching, may_stop = threading.Event(), threading.Event()
    endings = []

    class Interrupted(Exception):
        pass

    def check_interrupted():
        if threading.current_thread() is searcher:
            if may_stop.is_set():
                raise Interrupted
            is_searching.set()

    def search():
        try:
            processes.ask(ENDLESS)
        except Interrupted:
            endings.append("interrupted")

    monkeypatch.setattr(execution, "check_interrupted", check_interrupted)
    searcher = threading.Thread(target=search)
    searcher.start()
    assert is_searching.wait(30)
    assert [processes.ask(QUICK) for _ in range(3)] == [{"answer": True}] * 3
    assert processes.count == 2
    assert endings == []
    may_stop.set()
    searcher.join(30)
    assert endings == ["interrupted"]
    assert processes.count == 1


def test_a_process_is_used_again(processes):
    for _ in range(3):
        processes.ask(QUICK)
    assert processes.count == 1


def test_no_more_processes_are_kept_than_a_few(processes, monkeypatch):
    together = threading.Barrier(MOST_KEPT + 2)
    ask = RegexProcess.ask

    def ask_together(process, request):
        together.wait(30)
        answer = ask(process, request)
        together.wait(30)
        return answer

    monkeypatch.setattr(RegexProcess, "ask", ask_together)
    searchers = [threading.Thread(target=processes.ask, args=(QUICK,)) for _ in range(MOST_KEPT + 2)]
    for searcher in searchers:
        searcher.start()
    for searcher in searchers:
        searcher.join(30)
    assert processes.count == MOST_KEPT


def test_a_process_that_was_killed_while_it_waited_is_replaced(processes):
    processes.ask(QUICK)
    (waiting,) = processes.idle
    os.kill(waiting.pid, signal.SIGTERM)
    waiting.wait()
    assert processes.ask(QUICK) == {"answer": True}
    assert processes.count == 1


def test_a_process_that_is_killed_while_it_searches_is_an_error_of_its_search_alone(processes, monkeypatch):
    import execution

    def kill_it():
        (searching,) = processes.all
        os.kill(searching.pid, signal.SIGTERM)

    monkeypatch.setattr(execution, "check_interrupted", kill_it)
    with pytest.raises(SearchLost):
        processes.ask(ENDLESS)
    monkeypatch.setattr(execution, "check_interrupted", lambda: None)
    assert processes.ask(QUICK) == {"answer": True}


PARENT = """
import json, sys
import execution
from nodes.regex_process import RegexProcess
process = RegexProcess()
said = False
def check_interrupted():
    global said
    if not said:
        said = True
        print(process.pid, flush=True)
execution.check_interrupted = check_interrupted
process.ask(json.loads(sys.argv[1]))
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs a handle for processes of others")
def test_a_search_does_not_outlive_a_server_that_was_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT, json.dumps(ENDLESS)], cwd=ROOT, stdout=subprocess.PIPE)
    with parent:
        searching = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.kill()
            has_ended, _, _ = select.select([searching], [], [], 30)
        finally:
            os.close(searching)
    assert has_ended


def test_an_exit_of_this_process_ends_those_that_search():
    program = (
        "import threading, execution\n"
        "from nodes.regex_process import processes\n"
        "searching = threading.Event()\n"
        "execution.check_interrupted = searching.set\n"
        f"threading.Thread(target=processes.ask, args=({ENDLESS!r},), daemon=True).start()\n"
        "searching.wait()\n"
        "print(len(processes.all))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert (ended.returncode, ended.stdout) == (0, "1\n")
    assert "Fatal" not in ended.stderr
