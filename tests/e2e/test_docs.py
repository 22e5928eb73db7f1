"""Pages made from tables say what the tables say."""
import pathlib
import subprocess

from harness import BUILD

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


def test_parameters_page_is_current():
    made = subprocess.run([BUILD / "ijepad-worker", "parameters"], capture_output=True, text=True, check=True)
    assert made.stdout == (DOCS / "parameters.md").read_text(), \
        "run: build/ijepad-worker parameters > docs/parameters.md"
