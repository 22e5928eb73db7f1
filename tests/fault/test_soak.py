"""The short variant of `make soak`: the mixed load itself, every state right at the end, nothing left over."""
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def test_a_short_soak():
    seconds = os.environ.get("IJEPAD_SOAK_S", "12")
    done = subprocess.run([sys.executable, HERE / "soak.py", "--seconds", seconds], capture_output=True, text=True, timeout=300)
    print(done.stderr.strip()[-1000:], done.stdout[-2000:])
    result = json.loads(done.stdout)
    assert result["failures"] == [] and done.returncode == 0
    assert result["runs"] >= 20 and result["requests"] >= 500 and result["wrong_states"] == 0
