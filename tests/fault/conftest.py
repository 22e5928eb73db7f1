"""What the fault tests share: the daemon harness of tests/e2e, images, how thorough to be."""
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e"), str(HERE.parent / "bench")]

from harness import BUILD  # noqa: E402


@pytest.fixture(scope="session")
def thorough():
    """`make fault` runs every case; without it each test takes a sample that fits into CI."""
    return os.environ.get("IJEPAD_FAULT") == "all"


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """100 rendered scenes of 32 pixels."""
    folder = tmp_path_factory.mktemp("scenes")
    subprocess.run([BUILD / "ijepad-worker", "scenes", folder, "--count", "100", "--size", "32"],
                   check=True, capture_output=True)
    return folder
