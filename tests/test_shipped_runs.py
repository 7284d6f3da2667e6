"""The records that ship: they are those of their suites, by the methods as they are now."""

import pytest

from harness import engine, packs, record, registry
from harness.config import read_suite

PACKS = sorted(registry.recipes_folder().rglob("*.zip"))


@pytest.mark.parametrize("pack", PACKS, ids=lambda path: path.stem)
def test_a_pack_holds_the_runs_of_its_suite_and_no_others(home, pack, request):
    """Fails when a version is raised: the suite must then be run and packed again."""
    pytest.importorskip("torch", reason="torch is not installed")
    suite = pack.relative_to(registry.recipes_folder()).with_suffix("").as_posix()
    specs = read_suite(suite)
    if any(spec.benchmark == "nb201" for spec in specs):
        request.getfixturevalue("nb201_dump")
    asked = {record.identity_key(engine.identity_of(spec)) for spec in specs}
    held = {file.removesuffix(".json") for file in packs.names(pack) if file.endswith(".json")}

    assert asked == held
    for key in held:
        found = record.read(key)
        assert found.status == record.DONE
        assert found.is_whole


def test_searches_of_mini201_spend_alike_and_their_parameters_could_go_three_along(home):
    """Else what is compared is budgets, and what is selected the noise that parameters began as."""
    pytest.importorskip("torch", reason="torch is not installed")
    for spec in read_suite("common/mini201"):
        found = record.read(record.identity_key(engine.identity_of(spec)))
        counts, recipe = found.result["counts"], found.result["recipe"]
        learns_arch = registry.get("method", spec.method).offer.learns_arch

        assert counts["image_passes"] == 96_000, spec
        assert not learns_arch or counts["arch_steps"] * recipe["arch_lr"] >= 3, spec
