"""Pages made from tables say what the tables say."""
import pathlib
import subprocess

from harness import BUILD

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


def test_parameters_page_is_current():
    made = subprocess.run([BUILD / "ijepad-worker", "parameters"], capture_output=True, text=True, check=True)
    assert made.stdout == (DOCS / "parameters.md").read_text(), \
        "run: build/ijepad-worker parameters > docs/parameters.md"


def test_configuration_page_is_current(tmp_path):
    made = subprocess.run([BUILD / "ijepad", "configuration"], capture_output=True, text=True, check=True)
    assert made.stdout == (DOCS / "configuration.md").read_text(), "run: build/ijepad configuration > docs/configuration.md"
    (tmp_path / "empty.conf").touch()
    printed = subprocess.run([BUILD / "ijepad", "--config", tmp_path / "empty.conf", "--print-config"], capture_output=True, text=True)
    keys = [line.split(" = ")[0] for line in printed.stdout.splitlines() if not line.startswith("#")]
    assert len(keys) > 30 and all(f"| `{key}` |" in made.stdout for key in keys)
