"""The page as a browser shows it."""

import base64
import io
import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from experiments.reporting import page
from experiments.reporting.page import reading

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture(scope="module")
def browser(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webdriver.Chrome]:
    """A Chromium in which the page is open."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs chromium and chromedriver")
    runs = request.getfixturevalue("runs")
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
