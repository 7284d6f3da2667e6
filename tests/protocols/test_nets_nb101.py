"""The NB101 network: the benchmark's own parameter counts, and modules written out by hand."""

import csv
import gzip

import numpy as np
import pytest
import torch
from test_nets import n_params

from harness import space
from harness.errors import InvalidArch, InvalidSpec
from harness.spaces.nb101 import INPUT, OPS, OUTPUT, vertex_channels
from protocols.nets.nb101 import Module, Network

SPACE = space("nb101")
CONV3, CONV1, POOL = OPS
ONE_SHOT = ["oneshot1-1", "oneshot1-2", "oneshot1-3"]


def cell(edges, ops):
    """The pruned spec of a text's cell; what is left out are 3x3 convolutions."""
    ops = [*ops, *[CONV3] * (5 - len(ops))]
    return SPACE.pruned(SPACE.parse(f"{edges}|{','.join(ops)}"))


def recorded(data, n):
    """n of the benchmark's (arch, trainable parameters), its vertices numbered as there."""
    with gzip.open(data / "nb101" / "nb101_30k.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    for i in np.random.default_rng(0).choice(len(rows), n, replace=False):
        n_vertices = int(rows[i]["vertices"])
        matrix = np.array(list(rows[i]["adjacency"]), dtype=np.int8)
        ops = [INPUT, *(OPS[int(op)] for op in rows[i]["ops"]), OUTPUT]
        arch = SPACE.of_spec(matrix.reshape(n_vertices, n_vertices), ops)
        yield arch, int(rows[i]["trainable_parameters"])


def built(arch, **settings):
    with torch.device("meta"):
        return Network(arch, n_classes=10, **settings)


@pytest.mark.parametrize("n", [60, pytest.param(3_000, marks=pytest.mark.slow)])
def test_the_network_has_the_benchmarks_parameters(data, n):
    archs, expected = zip(*recorded(data, n), strict=True)

    assert len(archs) == n
    assert expected == tuple(n_params(built(arch)) for arch in archs)
    assert sum(uneven(arch) for arch in archs) > n / 5  # These are the ones to get wrong.


def uneven(arch):
    """Whether three vertices, or five, share the output."""
    matrix, _ = SPACE.pruned(arch)
    return int(matrix[1:, -1].sum()) in (3, 5)


def test_channels_by_hand():
    """Vertices 1, 2 and 4 share 8 channels as 3, 3 and 2; vertex 3 is as wide as 4, which it feeds.

    The input keeps its own.
    """
    matrix, _ = cell("0>1,0>2,0>3,3>4,1>6,2>6,4>6", [CONV3] * 4)

    assert [5, 3, 3, 2, 2, 8] == vertex_channels(len(matrix), np.argwhere(matrix).tolist(), 5, 8)


def test_a_cell_of_input_and_output_alone_is_a_projection():
    matrix, ops = cell("0>6", [])
    module = Module(matrix, ops, 4, 6).eval()
    x = images()

    assert [4, 6] == module.channels
    assert torch.equal(module.projections["1"](x), module(x))


def test_a_module_by_hand():
    """Vertex 1 has 3 channels and feeds vertex 2, which has 2: the last one is cut off."""
    matrix, ops = cell("0>1,0>2,1>2,1>6,2>6,0>6", [POOL, CONV1])
    module = Module(matrix, ops, 4, 5).eval()
    x = images()
    into = module.projections

    one = torch.max_pool2d(into["1"](x), 3, 1, 1)
    two = module.ops[1](one[:, :2] + into["2"](x))
    expected = torch.cat([one, two], dim=1) + into["3"](x)

    assert [4, 3, 2, 5] == module.channels
    assert torch.allclose(expected, module(x), atol=1e-6)


def images(n=2, channels=4, side=8):
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("side", [8, 6])
def test_logits(side):
    """A side of 6 is pooled to 3, and that to 2."""
    rng = np.random.default_rng(1)
    for arch in [SPACE.sample(rng) for _ in range(4)]:
        torch.manual_seed(0)
        net = Network(arch, n_classes=7, channels=8, n_cells=3, n_in=1)
        x = images(channels=1, side=side)

        assert net(x).shape == (2, 7)
        assert [*net.blocks(net.stem(x)).shape[1:]] == [32, 2, 2]
        net.eval()
        assert torch.equal(net(x), net(x))


def test_numbering_gives_the_remainder_to_the_first_vertices():
    """Three vertices share 128 channels as 43, 43 and 42: it matters which of them convolves."""
    texts = [
        f"0>1,0>2,0>3,1>6,2>6,3>6|{ops},{CONV3},{CONV3}"
        for ops in (f"{CONV3},{POOL},{POOL}", f"{POOL},{POOL},{CONV3}")
    ]
    first, last = (n_params(built(SPACE.parse(text), n_cells=1)) for text in texts)

    assert (9 * 43**2 + 2 * 43) - (9 * 42**2 + 2 * 42) == first - last


@pytest.mark.parametrize("name", ONE_SHOT)
def test_one_shot_cells_are_built_as_the_cells_that_they_are_looked_up_as(name):
    of_space = space(name)
    rng = np.random.default_rng(2)
    archs = [of_space.nb101(of_space.sample(rng)) for _ in range(10)]
    codes = np.array([arch.code for arch in archs], dtype=np.uint8)
    expected = np.rint(SPACE.closed_form("params", "cifar10", codes) * 1e6).astype(int).tolist()

    assert expected == [n_params(built(arch)) for arch in archs]


def test_what_is_no_cell_is_refused():
    crowded = ",".join(f"{i}>{j}" for i in range(5) for j in range(i + 1, 5)) + ",4>6"
    for edges in ("0>1", crowded):
        with pytest.raises(InvalidArch, match="no such cell"):
            built(SPACE.parse(f"{edges}|{','.join([CONV3] * 5)}"))


def test_too_few_channels_to_share_are_refused():
    arch = SPACE.parse(f"0>1,0>2,0>3,1>6,2>6,3>6|{','.join([CONV3] * 5)}")

    with pytest.raises(InvalidSpec, match="Give at least 3"):
        built(arch, channels=2)
