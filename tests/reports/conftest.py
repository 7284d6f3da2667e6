"""Tables are made without the searches of their rows, which take minutes, unless a test asks."""

import pytest

from reports import row_search


@pytest.fixture(autouse=True)
def _no_searches(request, monkeypatch):
    if "searches" not in request.fixturenames:
        monkeypatch.setattr(row_search, "find_spec", lambda name: None)


@pytest.fixture
def searches():
    """Lets items run their searches."""
    pytest.importorskip("torch", reason="torch is not installed")
