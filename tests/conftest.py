"""Fixtures that all tests share, and the summary of what was skipped for want of real data."""

import os
from collections import Counter
from pathlib import Path

import pytest

# Tests run in two processes; torch would start as many threads in each as there are cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
NO_DATA = "needs real benchmark data, and NAS_HARNESS_DATA is not set"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with real benchmark files; without NAS_HARNESS_DATA the test is skipped."""
    configured = os.environ.get("NAS_HARNESS_DATA")
    if configured is None:
        pytest.skip(NO_DATA)
    folder = Path(configured)
    if not configured or not folder.is_dir() or not any(folder.iterdir()):
        pytest.fail(f"NAS_HARNESS_DATA is set to {folder}, which is empty or not there")
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty NAS_HARNESS_HOME."""
    folder = tmp_path / "home"
    monkeypatch.setenv("NAS_HARNESS_HOME", str(folder))
    return folder


@pytest.fixture
def nb201_dump(home: Path, data: Path) -> str:
    """The dump of NAS-Bench-201, imported and called nb201 too; the name of its store."""
    from harness.registry import adapter_of
    from harness.store import set_alias

    name = adapter_of("csv").pack(
        "csv",
        data / "nb201" / "nb201.csv.gz",
        mapping="nb201_dump",
        jobs=1,
        progress=lambda done, total: None,
    )
    set_alias("nb201", name)
    return name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run whole commands come first: they are the longest, and would be waited for."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, n in reasons.items():
        terminalreporter.write_line(f"{n} tests skipped: {reason}")
