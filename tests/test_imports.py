"""What importing the lookup core must not cost (`make checks` holds the direction of imports)."""

import subprocess
import sys

import pytest
from tables import make_store

from harness import registry
from harness.errors import MissingPackage
from harness.listing import LISTINGS


def modules_after(statement):
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in ended.stdout.split()}


@pytest.mark.parametrize(
    "statement",
    [
        "import harness",
        "import harness; harness.load; harness.space('nb201')",
        "import harness.cli",
        "import adapters.nats, adapters.nb201, adapters.nb101, adapters.tidy_csv, adapters.mini201",
        "import protocols.sotl, protocols.blackbox, protocols.methods.bohb",
    ],
)
def test_the_lookup_path_is_light(statement):
    heavy = {"torch", "pandas", "matplotlib", "scipy", "rich", "joblib"}

    assert modules_after(statement).isdisjoint(heavy)


def test_asking_for_a_space_imports_no_other():
    code = "from harness import space; space('nb201'); import sys; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = {name for name in ended.stdout.split() if name.startswith("harness.spaces.")}
    assert loaded == {"harness.spaces.nb201"}


def test_spaces_are_called_like_their_modules():
    from harness.spaces import space, spaces

    assert all(space(name) is found for name, found in spaces().items())


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from click.testing import CliRunner
from harness.cli import app
for arguments in {commands}:
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, (arguments, answer.output, answer.exception)
from harness.config import read_suite
assert read_suite("common/blackbox_queries", benchmark="small")
"""


def test_commands_that_need_no_torch_work_without_it(home):
    make_store()
    commands = [
        *(["list", kind] for kind in LISTINGS),
        ["doctor"],
    ]
    script = WITHOUT_TORCH.format(commands=commands)

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_plugin_that_needs_torch_says_so_without_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "protocols.untrained", raising=False)

    with pytest.raises(MissingPackage, match="needs torch"):
        registry.get("protocol", "untrained")
