"""Makes the pictures of docs/backends.md: `make screenshots`.

VOICESPAN_TEST_PHOENIX names Phoenix, as for the tests; VOICESPAN_TEST_BROWSER a Chromium.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from playwright.sync_api import sync_playwright

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from demo_call import hold  # noqa: E402  beside the tests
from server import Phoenix  # noqa: E402

PICTURES = Path(__file__).parents[2] / "docs" / "backends"
#: What is clicked in the tree of a trace, for each picture.
OPENED = {"generation": "turn_complete", "function": "function_call: find_tables"}
#: The trace, without the list behind it.
PART = {"x": 350, "y": 94, "width": 1050, "height": 766}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        phoenix = Phoenix(os.environ["VOICESPAN_TEST_PHOENIX"], Path(folder))
        try:
            phoenix.wait()
            provider = TracerProvider(resource=Resource.create({"openinference.project.name": "the-lantern"}))
            provider.add_span_processor(
                BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{phoenix.url}/v1/traces"))
            )
            hold("openai", provider)
            provider.shutdown()
            take_pictures(phoenix)
        finally:
            phoenix.close()


def take_pictures(phoenix: Phoenix) -> None:
    # What a call cost is written some seconds later.
    time.sleep(6)
    [project] = [each for each in phoenix.get("projects") if each["name"] == "the-lantern"]
    span = phoenix.get("projects/the-lantern/spans?limit=1")[0]
    url = f"{phoenix.url}/projects/{project['id']}/traces/{span['context']['trace_id']}"
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ["VOICESPAN_TEST_BROWSER"], args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 860}, color_scheme="light")
        page.goto(url)
        page.wait_for_selector("text=turn_complete", timeout=30_000)
        for name, clicked in OPENED.items():
            page.get_by_text(clicked, exact=True).first.click()
            page.wait_for_load_state("networkidle")
            time.sleep(1)
            page.screenshot(path=PICTURES / f"phoenix-{name}.png", clip=PART)
        browser.close()


if __name__ == "__main__":
    main()
