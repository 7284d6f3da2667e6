"""An import into a disk that fills up: one error, nothing lost, and it goes on afterwards."""

import os
import subprocess
import sys
from pathlib import Path

from nats_files import write_folder
from tables import make_store

from harness import load, store

BIN = Path(sys.executable).parent / "nas-harness"
# The kernel refuses to let any file grow past the limit, as it refuses when a disk is full.
LIMITED = """
import os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({n_bytes}, {n_bytes}))
os.execv(sys.argv[1], sys.argv[1:])
"""


def import_under(n_bytes, folder):
    script = LIMITED.format(n_bytes=n_bytes)
    command = [sys.executable, "-c", script, str(BIN), "import", "nats-tss", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))


def test_a_disk_that_fills_up_during_import(home, tmp_path):
    folder = write_folder(tmp_path / "NATS-tss-generated-simple", range(0, 15_600, 60))
    make_store("kept")
    kept = load("kept").sha256

    for n_bytes in (50_000, 20_000):
        ended = import_under(n_bytes, folder)

        assert ended.returncode == 1
        assert "Free space" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert list(store.imported()) == ["kept"]
        assert load("kept").sha256 == kept

    assert import_under(10**9, folder).returncode == 0
    assert len(load("nats-tss")) == 260
    assert store.verify("nats-tss") == []
