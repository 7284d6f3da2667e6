"""Mixes of what is left: what a step takes over from the host."""

import numpy as np
import pytest
from supernets_for_tests import linear_search
from torch.utils._python_dispatch import TorchDispatchMode

from protocols.left import Left, Place
from protocols.methods.drnas import DrNas, divergence
from protocols.methods.pdarts import PDarts
from protocols.search.method import ARCH
from protocols.search.mixing import softmax_of_left

FROM_THE_HOST = {"aten::lift_fresh", "aten::_to_copy", "aten::copy_"}


class Operations(TorchDispatchMode):
    """The names of what is computed inside."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.append(operation.name().partition(".")[0])
        return operation(*args, **(kwargs or {}))


def shrunk(method):
    search = linear_search(DrNas())
    search.method = method
    search.left = Left(search.space.groups)
    for row, options in enumerate([[0, 1], [1, 3, 4], [2], [0, 1, 2, 3, 4], [3, 4], [0, 4]]):
        search.left.keep(Place(0, row), options)
    return search


@pytest.mark.parametrize("method", [PDarts(), DrNas(progressive=True, kl=1e-3)])
def test_only_the_first_mix_of_what_is_left_takes_it_from_the_host(method):
    search = shrunk(method)

    def step():
        search.step_arch(search.arch_gradient(search.mix(ARCH).weights["op"][1].square().sum()))
        method.strengths(search)
        if isinstance(method, DrNas):
            divergence(method._rows(search))

    step()
    with Operations() as found:
        step()

    assert not FROM_THE_HOST & set(found.names)


def test_an_index_is_of_what_is_left_now():
    search = shrunk(PDarts())
    softmax_of_left(search.space, search.alphas, search.left)
    search.left.keep(Place(0, 1), [3])

    weights = softmax_of_left(search.space, search.alphas, search.left)["op"]

    assert weights[1].tolist() == [0, 0, 0, 1, 0]
    expected = np.exp(search.rows[0][:2].detach().numpy())
    assert np.allclose(weights[0].detach()[:2], expected / expected.sum())
    assert weights[0][2:].tolist() == [0, 0, 0]
