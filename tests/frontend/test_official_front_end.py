"""The front end of others, in a real browser: it boots, edits, runs, shows, cancels, saves and comes back.

One server and one tab for each version; the tests go on in it, one after the other.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.frontend import programs
from tests.frontend.served_studio import Browser, ServedStudio, browser_on, served_studio

OLD = "1.27.10"
NEWEST = "newest"
PICTURES = "STUDIO_FRONT_END_PICTURES"
"""The environment variable that names a folder for screenshots, which is kept."""


@dataclass(frozen=True)
class Tab:
    studio: ServedStudio
    browser: Browser
    folder: Path


@pytest.fixture(scope="module", params=[NEWEST, OLD])
def tab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    programs.chromium(), programs.playwright()
    version = programs.newest_version() if request.param == NEWEST else request.param
    front_end = programs.front_end(version)
    folder = tmp_path_factory.mktemp("front_end")
    pictures = Path(os.environ.get(PICTURES, folder)) / version
    with served_studio(folder / "base", front_end) as studio, \
            browser_on(studio.url, pictures, "old" if version == OLD else "new") as browser:
        browser.check("opens")
        yield Tab(studio, browser, folder)


def test_it_boots_and_an_example_of_a_pack_opens(tab: Tab) -> None:
    tab.browser.check("opensTemplate")


def test_a_run_is_shown_node_by_node(tab: Tab) -> None:
    said = tab.browser.check("runs")
    assert said == {"turn": 11, "outputs": ["4", "5"]}, "the widget's new value was sent, and both pictures kept"


def test_a_run_from_the_cache_shows_its_pictures(tab: Tab) -> None:
    tab.browser.check("runsFromCache")


def test_two_prompts_of_a_tab_do_not_confuse_it(tab: Tab) -> None:
    tab.browser.check("runsTwo")


def test_what_ran_is_listed(tab: Tab) -> None:
    tab.browser.check("listsHistory")


def test_what_runs_and_what_waits_is_cancelled(tab: Tab) -> None:
    said = tab.browser.check("cancels")
    assert said == {"arrivals": 2}, "the one that was taken away while it waited never ran"


def test_a_file_is_uploaded_and_shown(tab: Tab) -> None:
    file = tab.folder / "orange.png"
    Image.new("RGB", (64, 48), (255, 128, 0)).save(file)
    assert tab.browser.check("uploads", file=str(file)) == {"status": 200, "value": "orange.png"}
    assert (tab.studio.base_directory / "input" / "orange.png").read_bytes() == file.read_bytes()


def test_a_failing_node_is_shown(tab: Tab) -> None:
    tab.browser.check("showsFailure")


def test_a_refused_prompt_is_shown(tab: Tab) -> None:
    assert tab.browser.check("showsRefusal") == {"status": 400}


def test_workflows_and_settings_outlast_a_reload(tab: Tab) -> None:
    assert tab.browser.check("saves") == {"saved": 200, "opened": 200, "mapIsHidden": True}


def test_it_comes_back_after_a_restart_of_the_server(tab: Tab) -> None:
    tab.browser.check("looksAway")
    tab.studio.stop()
    tab.studio.start()
    tab.browser.check("isBack")
