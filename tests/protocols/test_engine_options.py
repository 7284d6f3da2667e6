"""How a search is computed: options that change speed and rounding, and nothing else."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from supernets_for_tests import N_CLASSES, batches, linear_search, tiny_search

from harness import registry, store
from harness.engine import execute, run_all
from harness.errors import InvalidSpec, UnknownName
from harness.record import DONE, SKIPPED, RunSpec
from harness.spaces import space
from protocols.methods.darts import Darts
from protocols.nets.mix import Mix, Supernet, path_mix, uniform
from protocols.search.engine_options import PLAIN, EngineOptions, compilable
from protocols.search.hypergradients import second_order
from protocols.search.loop import Search
from protocols.search.method import ARCH
from protocols.search.recipe import Recipe

TINY = {
    "dataset": "cifar10",
    "images": "gaussian",
    "n_made": 64,
    "network": {"channels": 4, "n_cells": 1},
    "recipe": {"epochs": 2, "batch_size": 16},
}
# One pass differs by up to 0.006: bfloat16 keeps 8 bits.
OF_BFLOAT16 = 1e-2
# One pass differs by some 1e-6; the few steps of an epoch make that larger.
OF_FLOAT32 = 1e-4


def spec(method="darts", seed=0, **changed):
    return RunSpec("supernet", "no-table:nb201", seed, method, {**TINY, **changed})


def losses(search):
    return [loss for epoch in search.epochs for loss in epoch.losses.values()]


def kept_files():
    return sorted(path.name for path in (store.home() / "supernets").iterdir())


def rows_of(search):
    return torch.cat([row.detach() for row in search.rows])


def test_options_that_are_off_change_no_bit_and_share_what_is_kept(home):
    plain = execute(spec()).array("strengths_op")
    (kept,) = kept_files()
    (store.home() / "supernets" / kept).unlink()

    found = execute(spec(engine={"compile": False, "autocast": ""}))

    assert np.array_equal(found.array("strengths_op"), plain)
    assert kept_files() == [kept]
    assert np.array_equal(execute(spec(engine={})).array("strengths_op"), plain)
    assert kept_files() == [kept]


OPTIONS = [
    (EngineOptions(channels_last=True), OF_FLOAT32),
    (EngineOptions(autocast="bfloat16"), OF_BFLOAT16),
    (EngineOptions(autocast="bfloat16", channels_last=True), OF_BFLOAT16),
]


@pytest.mark.parametrize("space_name", ["oneshot1-3", "darts-s4"])
def test_a_pass_is_the_plain_one_up_to_rounding(space_name):
    """S4's noise too, however images lie in memory."""
    found = []
    for engine in (PLAIN, *(engine for engine, _ in OPTIONS)):
        search = tiny_search(space_name, Darts(), engine=engine)
        torch.manual_seed(0)
        found.append(
            search.loss(next(batches(16).pairs(0)).train, uniform(search.space), phase=ARCH).item()
        )

    for loss, (_, tolerance) in zip(found[1:], OPTIONS, strict=True):
        assert loss == pytest.approx(found[0], rel=tolerance)


@pytest.mark.parametrize(("engine", "tolerance"), OPTIONS)
def test_losses_are_those_of_the_plain_run_up_to_rounding(engine, tolerance):
    plain = tiny_search("nb201", Darts(), epochs=1)
    found = tiny_search("nb201", Darts(), epochs=1, engine=engine)
    plain.run()
    found.run()

    assert losses(found) == pytest.approx(losses(plain), rel=tolerance)
    assert losses(found) != losses(plain)
    accuracies = [search.accuracy(uniform(search.space)) for search in (plain, found)]
    assert accuracies[1] == pytest.approx(accuracies[0], abs=100 * 3 / 32)  # Three of 32 images.


def test_weights_and_images_lie_as_asked():
    search = tiny_search("nb201", Darts(), epochs=1, engine=EngineOptions(channels_last=True))
    seen = []
    search.net.stem.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    search.run()

    kernels = [weight for weight in search.net.parameters() if weight.dim() == 4]
    last = {"memory_format": torch.channels_last}
    assert all(weight.is_contiguous(**last) for weight in kernels)
    assert all(images.is_contiguous(**last) for images in seen)


@pytest.mark.parametrize("exact", [False, True])
def test_second_order_gradients_are_not_rounded(exact):
    found = []
    for engine in (PLAIN, EngineOptions(autocast="bfloat16", compile=True)):
        search = tiny_search("nb201", Darts(order=2), engine=engine)
        pair = next(batches(16).pairs(0))
        found.append(second_order(search, pair, search.mixer(ARCH), search.rows, exact=exact))

    assert all(torch.equal(*slopes) for slopes in zip(*found, strict=True))


def test_diagnostics_are_not_rounded():
    found = []
    for engine in (PLAIN, EngineOptions(autocast="bfloat16", compile=True)):
        search = tiny_search("nb201", Darts(), engine=engine, diagnostics={"eigenvalue": "valid"})
        found.append(search.epochs[0].measured)

    assert found[0] == found[1]


@pytest.mark.parametrize("options", [{"order": 2}, {"order": 2, "exact": True}])
def test_second_order_search_runs_in_mixed_precision(options):
    search = tiny_search(
        "nb201", Darts(**options), epochs=1, engine=EngineOptions(autocast="bfloat16")
    )
    search.run()

    assert np.isfinite(losses(search)).all()


def test_a_resumed_search_with_options_is_the_uninterrupted_one():
    engine = EngineOptions(autocast="bfloat16", channels_last=True)
    whole = tiny_search("nb201", Darts(), epochs=2, engine=engine)
    whole.run_epoch()
    kept = io.BytesIO()
    torch.save(whole.state(), kept)
    kept.seek(0)
    whole.run()

    second = tiny_search("nb201", Darts(), epochs=2, engine=engine)
    second.load(torch.load(kept, weights_only=True))
    second.run()

    assert torch.equal(rows_of(whole), rows_of(second))
    assert losses(whole) == losses(second)


# Deterministic.


def test_deterministic_is_bit_equal_and_kept_apart(home):
    found = []
    for engine in ({}, {"deterministic": True}, {"deterministic": True}):
        record = execute(spec(engine=engine))
        found.append(record.array("strengths_op").copy())
        (store.home() / "supernets").rename(home / f"kept {len(found)}")

    assert record.status == DONE, record.reason
    assert record.result["device"] == "cpu"
    assert np.array_equal(found[1], found[2])
    assert np.array_equal(found[0], found[1])  # A processor's algorithms are deterministic anyway.
    assert not torch.are_deterministic_algorithms_enabled()
    names = [{path.name for path in folder.iterdir()} for folder in sorted(home.glob("kept *"))]
    assert names[0] != names[1] == names[2]


def test_inside_torch_refuses_what_is_not_deterministic(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with EngineOptions(deterministic=True).running("cpu"):
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            assert not torch.backends.cudnn.benchmark
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)


def test_deterministic_on_cuda_asks_for_the_workspace(monkeypatch):
    engine = EngineOptions(deterministic=True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)

    with pytest.raises(InvalidSpec, match="Set CUBLAS_WORKSPACE_CONFIG=:4096:8"):
        with engine.running("cuda:0"):
            pass
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with engine.running("cuda:0"):
        assert torch.are_deterministic_algorithms_enabled()


# TF32.


def float32_precisions():
    """Of convolutions, recurrent layers and products of matrices on a GPU."""
    cudnn = torch.backends.cudnn
    return [of.fp32_precision for of in (cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul)]


@pytest.fixture(params=["new", "as torch is", "old"])
def precisions(request):
    """What a process may have set before, by torch's new names, not at all, or by its old ones."""
    before = float32_precisions()
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if request.param == "new":
        cudnn.conv.fp32_precision, matmul.fp32_precision = "ieee", "tf32"
    if request.param == "old":
        cudnn.allow_tf32, matmul.allow_tf32 = True, True
    yield float32_precisions()
    if request.param == "old":
        assert cudnn.allow_tf32 and matmul.allow_tf32  # Which raises where the two disagree.
        cudnn.allow_tf32, matmul.allow_tf32 = True, False
    for of, value in zip((cudnn.conv, cudnn.rnn, matmul), before, strict=True):
        of.fp32_precision = value


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("tf32", "expected"), [(False, "ieee"), (True, "tf32")])
def test_inside_gpus_round_to_tf32_only_if_asked(precisions, tf32, expected):
    with pytest.raises(ZeroDivisionError):
        with EngineOptions(tf32=tf32, deterministic=True).running("cpu"):
            assert float32_precisions() == [expected] * 3
            raise ZeroDivisionError

    assert float32_precisions() == precisions


def test_tf32_is_part_of_what_is_kept_only_where_it_is_allowed():
    assert EngineOptions.read({"tf32": True}, "cpu").chosen == {"tf32": True}
    assert EngineOptions.read({"tf32": False}, "cpu").chosen == {}


# Compiled.


@pytest.fixture
def programs(monkeypatch):
    """Graphs that torch.compile made from here on; torch's own operations carry them out."""
    made, compile_ = [], torch.compile

    def recording(graph, inputs):
        made.append(graph)
        return graph.forward

    monkeypatch.setattr(
        torch, "compile", lambda net, mode, **kept: compile_(net, backend=recording, **kept)
    )
    return made


class OneMap(Supernet):
    """The mean pixel through one map a row, each times the sum of the row's weights squared."""

    def __init__(self):
        super().__init__()
        self.space = space("nb201")
        self.maps = torch.nn.ParameterList(torch.randn(3, N_CLASSES) for _ in range(6))

    def forward(self, images, mix):
        features = images.mean(dim=(2, 3))
        weights = [row.pow(2).sum() for row in mix.weights["op"]]
        return sum(w * (features @ map_) for w, map_ in zip(weights, self.maps, strict=True))


def one_map_search(seed=0, engine=PLAIN):
    recipe = Recipe(epochs=2, batch_size=8)
    return Search(space("nb201"), OneMap, Darts(), recipe, batches(8), seed=seed, engine=engine)


def test_a_compiled_search_is_two_programs(programs):
    """One for steps of the weights and one for those of the parameters; measuring has none.

    Searches in one process do not use up the few programs that torch keeps of a function.
    """
    with torch._dynamo.config.patch(recompile_limit=2):
        for seed in (0, 1):
            plain = one_map_search(seed)
            plain.run()
            found = one_map_search(seed, EngineOptions(compile=True))
            found.run()
            found.accuracy(uniform(found.space))

            assert len(programs) == 2 * (seed + 1)
            assert losses(found) == losses(plain)


def test_a_supernet_is_one_whole_program(programs):
    net = tiny_search("nb201", Darts()).net
    batch, mix = next(batches(8).pairs(0)).train, replace(uniform(net.space), wide=True)
    run = EngineOptions(compile=True).compiled(net)

    with torch.no_grad():
        assert torch.equal(run(batch.images, mix), net(batch.images, mix))
    assert len(programs) == 1


def test_passes_under_a_path_are_no_program():
    of_space = space("nb201")
    mix = uniform(of_space)

    assert compilable(mix)
    assert not compilable(replace(mix, path=path_mix(of_space, of_space.arch([0] * 6)).path))


@pytest.mark.slow  # A compiler of C++ takes minutes.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", [{}, {"autocast": "bfloat16", "channels_last": True}])
def test_compiled_for_this_machine_the_losses_are_the_same(engine):
    plain, found = (
        tiny_search("nb201", Darts(), epochs=1, engine=EngineOptions(compile=on, **engine))
        for on in (False, True)
    )
    plain.run()
    found.run()

    assert losses(found) == pytest.approx(losses(plain), rel=OF_BFLOAT16 if engine else OF_FLOAT32)


def test_cuda_graphs_are_a_mode_of_compilation_whose_outputs_are_copied(monkeypatch):
    asked, output = {}, torch.ones(2)

    def compile_(net, **options):
        asked.update(options)
        return lambda images, mix: output

    monkeypatch.setattr(torch, "compile", compile_)
    net = linear_search(Darts()).net
    run = EngineOptions(compile=True, cuda_graphs=True).compiled(net)
    given = run(torch.zeros(1), Mix())

    assert asked == {"fullgraph": True, "dynamic": False, "mode": "reduce-overhead"}
    assert torch.equal(given, output)
    assert given.data_ptr() != output.data_ptr()


def test_cuda_graphs_add_up_no_gradients():
    search = one_map_search(engine=EngineOptions(compile=True, cuda_graphs=True))
    mix = uniform(search.space)

    with pytest.raises(InvalidSpec, match="Leave cuda_graphs out"):
        search.step_weights(next(batches(8).pairs(0)).train, [mix, mix])


# What is refused.


@pytest.mark.parametrize("method", ["random_nas", "gdas", "fairnas", "sgas", "pdarts"])
def test_methods_that_do_not_mix_all_options_all_the_time_are_not_compiled(home, method):
    record = execute(spec(method, engine={"compile": True}))

    assert record.status == SKIPPED
    assert "Leave compile out" in record.reason


def test_wrappers_are_compiled_as_what_they_wrap():
    sotl = registry.get("method", "sotl").offer

    assert EngineOptions(compile=True).skip(sotl) is None
    assert "Leave compile out" in EngineOptions(compile=True).skip(replace(sotl, inner="gdas"))


@pytest.mark.parametrize(
    ("engine", "error", "says"),
    [
        ({"channel_last": True}, UnknownName, "Did you mean channels_last"),
        ({"channels_last": 1}, InvalidSpec, "channels_last of engine is like False, not 1"),
        ({"autocast": True}, InvalidSpec, "autocast of engine is like '', not True"),
        ({"autocast": "float16"}, InvalidSpec, "autocast is 'bfloat16'"),
        ({"cuda_graphs": True}, InvalidSpec, "Set compile = true too"),
        ({"compile": True, "cuda_graphs": True}, InvalidSpec, "There are no CUDA graphs on cpu"),
        ("bfloat16", InvalidSpec, "engine is a table, not 'bfloat16'"),
    ],
)
def test_wrong_values_are_errors_that_name_the_right_ones(home, engine, error, says):
    with pytest.raises(error, match=says):
        run_all([spec(engine=engine)])
