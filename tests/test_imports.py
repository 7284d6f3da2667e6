"""What importing the lookup core must not cost (`make checks` holds the direction of imports)."""

import subprocess
import sys

import pytest


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
