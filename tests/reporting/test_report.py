"""The report: what it shows of real runs, what it refuses, and that it needs nothing but itself."""

import base64
import io
import json
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from pages import Elements, data_of
from PIL import Image
from running import run_train
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from experiments import report
from experiments.reporting import page
from experiments.reporting.page import reading, sections
from experiments.reporting.summary import comparison_table

TINY = ("--packaged_mnist", "--smoke", "--samples_per_task=20", "--diagnostics")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Runs of a learner with learnt rates and of one without."""
    root = tmp_path_factory.mktemp("runs")
    run_train("--learner=la_er,online", *TINY, f"--workdir={root}")
    return root


@pytest.fixture(scope="module")
def runs(root: pathlib.Path) -> list[reading.Run]:
    return reading.read(reading.find([root])).runs


@pytest.fixture
def copy(root: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """The same runs, to be broken."""
    shutil.copytree(root, tmp_path / "runs")
    return tmp_path / "runs"


def run_report(*arguments: str) -> None:
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        report.main(flags.FLAGS(["report", *arguments]))


def test_command_writes_the_page(
    root: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    run_report(str(root / "online"), str(root), f"--out={out}")  # a run that is named twice is one
    assert capsys.readouterr().out == f"Report: {out}\n"
    cells = Elements(out.read_text()).cells
    for learner in ("la_er", "online"):
        summary = json.loads((root / learner / "summary.json").read_text())
        assert f"{summary['ra_mean']:.2f} ± {summary['ra_std']:.2f}" in cells
    assert out.read_text().count("<h3>Online</h3>") == 1


def test_page_is_whole_in_itself(runs: list[reading.Run]) -> None:
    text = page.build(reading.Found(runs, [], []))
    assert text == page.build(reading.Found(runs, [], []))
    elements = Elements(text)
    ids = elements.all("id")
    assert len(ids) == len(set(ids)) > 30
    for target in [*elements.all("href"), *elements.all("src"), *elements.all("xlink:href")]:
        assert target.startswith("data:") or target.removeprefix("#") in ids
    referring = (*elements.all("aria-labelledby"), *elements.all("aria-describedby"))
    for names in (*referring, *elements.all("for")):
        assert set(names.split()) <= set(ids)
    for tag, attributes in elements.found:
        assert tag != "img" or attributes["alt"]
        assert tag != "th" or attributes["scope"] in ("row", "col")
        assert tag != "svg" or attributes["role"] == "img"
    levels = [int(t[1]) for t, _ in elements.found if t in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and max(np.diff(levels)) <= 1


def test_figures_come_with_their_data(runs: list[reading.Run]) -> None:
    files = {
        str(attributes["download"]): str(attributes["href"])
        for tag, attributes in Elements(page.build(reading.Found(runs, [], []))).found
        if tag == "a" and "download" in attributes
    }
    la_er = runs[0]
    rows = data_of(files["la-er-matrix.csv"])
    matrix = [[float(row[f"task {i}"]) for i in (1, 2, 3)] for row in rows]
    np.testing.assert_allclose(matrix, 100 * la_er.accuracy.mean(axis=0), rtol=1e-5)
    rates = [float(r["mean rate"]) for r in data_of(files["la-er-rates.csv"])]
    means = la_er.results["rate_mean"].mean(axis=0)
    np.testing.assert_allclose(rates, means.ravel(), rtol=1e-5)
    curves = data_of(files["curves.csv"])
    assert {(r["learner"], r["seed"]) for r in curves} == {
        (run.label, seed) for run in runs for seed in "01"
    }
    first = data_of(files["results.csv"])[0]
    assert float(first["RA"]) == la_er.summary["ra_mean"]
    assert float(first["RA std"]) == la_er.summary["ra_std"]


def test_results_stand_beside_the_papers(runs: list[reading.Run]) -> None:
    summary = {**runs[1].summary, "standard_stream": True}
    summary |= {"ra_mean": 55.0, "ra_std": 2.0, "bti_mean": None, "bti_std": None}
    found = reading.Found([runs[1]._replace(summary=summary)], [], [])
    section = sections.results(found)
    assert section is not None
    (row,) = section.blocks[0].rows  # type: ignore[union-attr]
    assert [cell.text for cell in row[:9]] == [
        *("Online", "55.00 ± 2.00", "53.38 ± 1.53", "1.62 ± 2.52", row[4].text),
        *("–", "−5.44 ± 1.70", "–", row[8].text),
    ]


def test_what_the_paper_has_no_value_for_has_no_empty_columns(runs: list[reading.Run]) -> None:
    of_users = [{**run.summary, "benchmark": "my_stream.py:make"} for run in runs]
    found = [run._replace(summary=summary) for run, summary in zip(runs, of_users, strict=True)]
    section = sections.results(reading.Found(found, [], []))
    assert section is not None
    results = section.blocks[0]
    assert results.columns[:5] == ("learner", "RA", "LA", "BTI", "FWT")  # type: ignore[union-attr]
    assert {len(row) for row in results.rows} == {len(results.columns)}  # type: ignore[union-attr]
    assert "paper" not in results.caption  # type: ignore[union-attr]
    table = comparison_table(of_users)
    assert table.startswith("| learner | RA | LA | BTI |\n")
    papers = {**runs[1].summary, "standard_stream": True}
    assert comparison_table([of_users[0], papers]).splitlines()[2].endswith("| – | – |")


def test_damaged_run_is_named_and_the_others_are_shown(
    copy: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "online" / "results.npz").write_bytes(b"PK no results")
    (copy / "la_er" / "rates.npz").write_bytes(b"PK no rates")
    unfinished = copy / "unfinished"
    unfinished.mkdir()
    shutil.copy(copy / "online" / "config.json", unfinished)
    unit = copy / "divided" / "cluster" / "0000"  # of a run that is at work on a cluster
    shutil.copytree(copy / "online", unit)
    (unit.parent / "division.json").write_text("{}")
    run_report(str(copy), f"--out={copy / 'page.html'}")
    warned, text = capsys.readouterr().err, (copy / "page.html").read_text()
    for sentence in (
        f"{copy / 'online' / 'results.npz'} is missing or damaged",
        f"{copy / 'la_er' / 'rates.npz'} is damaged",
        f"{unfinished} holds a run that is not finished",
    ):
        assert sentence in warned and sentence in text
    assert "<h3>La-ER</h3>" in text and "<h3>Online</h3>" not in text


def test_arrays_that_do_not_fit_are_damage(copy: pathlib.Path) -> None:
    path = copy / "online" / "results.npz"
    for change in ({"accuracy": np.zeros((2, 3))}, {"diverged": np.zeros(3, bool)}):
        with np.load(copy / "la_er" / "results.npz") as results:
            np.savez(path, **{**results, **change})
        found = reading.read(reading.find([copy]))
        assert [run.label for run in found.runs] == ["La-ER"] and str(path) in found.problems[0]


def test_names_cannot_break_the_page(copy: pathlib.Path) -> None:
    name = "<script>alert('$x$')</script>"
    shutil.copytree(copy / "online", copy / name.replace("/", "|"))
    text = page.build(reading.read(reading.find([copy])))
    assert "<script>alert" not in text
    assert "Online (&lt;script&gt;alert" in text


def test_runs_of_which_all_seeds_diverged_are_said_to_be(runs: list[reading.Run]) -> None:
    results = {**runs[0].results, "diverged": np.ones(2, bool)}
    text = page.build(reading.Found([runs[0]._replace(results=results)], [], []))
    assert "All its seeds diverged." in text


@pytest.mark.parametrize("case", ["none", "empty", "missing", "benchmarks", "damaged", "out"])
def test_bad_input_is_one_sentence(
    copy: pathlib.Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    arguments, expected = [str(copy)], f"{str(copy)!r} holds no run."
    if case == "none":
        arguments, expected = [], "no run is given"
    elif case == "empty":
        shutil.rmtree(copy)
        copy.mkdir()
    elif case == "missing":
        arguments, expected = [str(copy / "nowhere")], "is not a folder"
    elif case == "benchmarks":
        path = copy / "online" / "summary.json"
        path.write_text(path.read_text().replace("mnist_rotations", "mnist_permutations"))
        expected = "the runs are of mnist_rotations and mnist_permutations"
    elif case == "damaged":
        for learner in ("la_er", "online"):
            (copy / learner / "summary.json").write_text("{}")
        expected = "no run can be reported"
    else:
        arguments, expected = [str(copy), f"--out={copy}"], f"out is {str(copy)!r}"
    with pytest.raises(SystemExit) as ended:
        run_report(f"--out={copy.parent / 'page.html'}", *arguments)
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err
    assert not (copy.parent / "page.html").exists()


# In a browser.

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture(scope="module")
def browser(
    runs: list[reading.Run], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webdriver.Chrome]:
    """A Chromium in which the page is open."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs chromium and chromedriver")
    folder = tmp_path_factory.mktemp("page")
    (folder / "page.html").write_text(page.build(reading.Found(runs, [], [])))
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.get(f"file://{folder / 'page.html'}")
    yield driver
    driver.quit()


@pytest.mark.browser
def test_tables_are_sorted_by_keys(browser: webdriver.Chrome) -> None:
    table = browser.find_element(By.CSS_SELECTOR, "#results ~ .wide table")
    heading = table.find_element(By.XPATH, ".//th[normalize-space()='RA']")

    def column(index: int) -> list[str]:
        rows = table.find_elements(By.CSS_SELECTOR, "tbody tr")
        return [row.find_elements(By.CSS_SELECTOR, "th, td")[index].text for row in rows]

    button = heading.find_element(By.TAG_NAME, "button")
    for key, order, backwards in ((Keys.ENTER, "descending", True), (" ", "ascending", False)):
        button.send_keys(key)
        assert heading.get_attribute("aria-sort") == order
        values = [float(text.split()[0]) for text in column(1)]
        assert values == sorted(values, reverse=backwards)
        assert sorted(column(0)) == ["La-ER", "Online"]
        assert f"RA, {order}" in str(
            browser.find_element(By.ID, "status").get_attribute("textContent")
        )
    browser.switch_to.active_element.send_keys(Keys.TAB)  # the next heading
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert heading.get_attribute("aria-sort") is None


@pytest.mark.browser
def test_slider_changes_the_pictures(browser: webdriver.Chrome) -> None:
    def shown() -> list[Any]:
        images = browser.find_elements(By.CSS_SELECTOR, ".microscope img")
        return [image.get_attribute("alt") for image in images if image.is_displayed()]

    slider = browser.find_element(By.CSS_SELECTOR, ".microscope input")
    before = shown()
    slider.send_keys(Keys.ARROW_LEFT)
    assert len(before) == len(shown()) == 6
    assert all("after 3 tasks" in text for text in before)
    assert all("after 2 tasks" in text for text in shown())
    assert browser.find_element(By.CSS_SELECTOR, ".microscope output").text == "2"


@pytest.mark.browser
def test_figures_are_downloaded_as_pictures(browser: webdriver.Chrome) -> None:
    script = """
        const done = arguments[0];
        HTMLAnchorElement.prototype.click = function () { done([this.download, this.href]); };
        document.querySelector("button.png").click();
    """
    name, uri = browser.execute_async_script(script)
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    assert name == "curves.png" and image.width > 1000
    colors = {color for _, color in image.getcolors(1 << 24) or ()}
    assert {(255, 255, 255), (0, 0, 0), (0x00, 0x72, 0xB2)} <= colors  # paper, axes, a line


@pytest.mark.browser
def test_nothing_is_wider_than_a_phone(browser: webdriver.Chrome) -> None:
    size = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    width = browser.execute_script("return document.documentElement.scrollWidth")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width == 360


@pytest.mark.browser
def test_paper_has_all_unfolded_and_figures_on_one_page(browser: webdriver.Chrome) -> None:
    folded = "return document.querySelectorAll('details:not([open])').length"
    before = browser.execute_script(folded)
    assert before > 0
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script(folded) == 0
    browser.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script(folded) == before
    a4 = {"width": 794, "height": 1123, "deviceScaleFactor": 1, "mobile": False}  # 1/96 inch
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", a4)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    tallest, *rules = browser.execute_script("""
        const of = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
        const heights = [...document.querySelectorAll("figure")].map((f) => f.offsetHeight);
        return [
          Math.max(...heights), of("figure", "breakInside"), of("figcaption", "breakAfter"),
          of("thead", "breakAfter"), of("summary", "breakAfter"), of("caption", "breakAfter"),
        ];
    """)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert 0 < tallest < 1123 - 2 * 76  # margins of two centimetres
    assert rules == ["avoid"] * 5


@pytest.mark.browser
def test_nothing_fails_and_nothing_is_fetched(browser: webdriver.Chrome) -> None:
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert any(url.startswith("file:") for url in urls)
    assert all(url.startswith(("file:", "data:")) for url in urls)
