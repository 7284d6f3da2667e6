"""Operations by hand: convolutions written out, shapes, noise and what drop path leaves."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.spaces.darts import DEPTHWISE_KERNELS
from protocols.nets.ops import (
    ConvBNReLU,
    DilConv,
    DropPath,
    FactorizedReduce,
    Noise,
    SepConv,
    Zero,
    darts_op,
    nb101_op,
    nb201_op,
)

DARTS_OPS = tuple(DEPTHWISE_KERNELS)
NB101_OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
FRESH_NORM = (1 + 1e-5) ** -0.5  # What a batch norm multiplies by before it has seen a batch.


def images(n=3, channels=4, side=8):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, channels, side, side, generator=generator)


def weights_of(op):
    return [layer.weight.detach() for layer in op.modules() if isinstance(layer, nn.Conv2d)]


def norms_of(op):
    return [layer for layer in op.modules() if isinstance(layer, nn.BatchNorm2d)]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", DARTS_OPS)
def test_shape_of_an_operation_of_the_darts_family(name, stride):
    for pool_norm in (False, True):
        out = darts_op(name, 4, stride, pool_norm=pool_norm)(images())
        assert out.shape == (3, 4, 8 // stride, 8 // stride)


@pytest.mark.parametrize("kernel", [3, 5])
def test_a_separable_convolution_is_two_of_relu_depthwise_pointwise_norm(kernel):
    op, x = SepConv(4, 6, kernel, 2).eval(), images()
    depth_one, point_one, depth_two, point_two = weights_of(op)

    once = F.conv2d(x.clamp(min=0), depth_one, stride=2, padding=kernel // 2, groups=4)
    once = F.conv2d(once, point_one) * FRESH_NORM
    twice = F.conv2d(once.clamp(min=0), depth_two, padding=kernel // 2, groups=4)
    expected = F.conv2d(twice, point_two) * FRESH_NORM

    assert point_one.shape[:2] == (4, 4)
    assert torch.allclose(expected, op(x), atol=1e-6)


@pytest.mark.parametrize(("kernel", "reach"), [(3, 2), (5, 4)])
def test_a_dilated_convolution_reaches_twice_as_far_and_skips_every_other_pixel(kernel, reach):
    op = DilConv(1, 1, kernel).eval()
    for layer in op.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
    x = torch.zeros(1, 1, 11, 11)
    x[0, 0, 5, 5] = 1
    expected = torch.zeros(11, 11)
    expected[5 - reach : 5 + reach + 1 : 2, 5 - reach : 5 + reach + 1 : 2] = FRESH_NORM

    assert torch.allclose(expected, op(x)[0, 0])


def test_a_factorised_reduction_takes_even_pixels_and_odd_ones():
    """Three channels: one of the even pixels, two of the odd ones."""
    op, x = FactorizedReduce(4, 3).eval(), images()
    even, odd = weights_of(op)
    positive = x.clamp(min=0)

    of_even = torch.einsum("oi,nihw->nohw", even[..., 0, 0], positive[..., 0::2, 0::2])
    of_odd = torch.einsum("oi,nihw->nohw", odd[..., 0, 0], positive[..., 1::2, 1::2])

    assert (len(even), len(odd)) == (1, 2)
    assert torch.allclose(torch.cat([of_even, of_odd], 1) * FRESH_NORM, op(x), atol=1e-6)


def test_a_skip_is_the_input_or_a_factorised_reduction():
    x = images()

    assert darts_op("skip_connect", 4, 1)(x) is x
    assert isinstance(darts_op("skip_connect", 4, 2), FactorizedReduce)


def test_pooling_by_hand():
    x = images(side=4)
    corner = x[..., :2, :2]

    assert torch.equal(darts_op("max_pool_3x3", 4, 2)(x)[..., 0, 0], corner.amax((2, 3)))
    assert torch.allclose(darts_op("avg_pool_3x3", 4, 2)(x)[..., 0, 0], corner.mean((2, 3)))
    assert torch.equal(nb101_op("maxpool3x3", 4)(x)[..., 0, 0], corner.amax((2, 3)))


@pytest.mark.parametrize("name", ["max_pool_3x3", "avg_pool_3x3"])
def test_only_a_supernets_pooling_has_a_norm_and_that_no_parameters(name):
    (norm,) = norms_of(darts_op(name, 4, 2, pool_norm=True, track_running_stats=False))

    assert not norms_of(darts_op(name, 4, 2))
    assert not norm.affine
    assert not norm.track_running_stats


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("tracks", [False, True])
def test_norms_are_as_asked_for(affine, tracks):
    settings = {"affine": affine, "track_running_stats": tracks}
    ops = [darts_op(name, 4, 2, **settings) for name in DARTS_OPS]
    ops += [nb101_op(name, 4, **settings) for name in NB101_OPS]
    ops += [
        nb201_op("nor_conv_3x3", 4, **settings),
        nb201_op("skip_connect", 4, n_in=2, **settings),
    ]
    norms = [norm for op in ops for norm in norms_of(op)]

    # Two for each of two sep_convs, one each for two dil_convs and the strided skip; then 2, 2.
    assert len(norms) == 4 + 2 + 1 + 2 + 2
    assert {(norm.affine, norm.track_running_stats) for norm in norms} == {(affine, tracks)}


def test_zeros_have_the_strided_shape():
    x = images()

    assert torch.equal(Zero()(x), torch.zeros(3, 4, 8, 8))
    assert torch.equal(Zero(2)(x), torch.zeros(3, 4, 4, 4))


def test_noise_is_standard_normal_whatever_the_input():
    x = torch.full((8, 16, 32, 32), 7.0)
    torch.manual_seed(0)
    drawn = Noise(2).eval()(x)
    torch.manual_seed(0)

    assert torch.equal(drawn, Noise(2)(-x))
    assert not torch.equal(drawn, Noise(2)(-x))
    # 32,768 values: five standard errors.
    assert abs(drawn.mean()) < 5 / 32_768**0.5
    assert abs(drawn.var() - 1) < 5 * (2 / 32_768) ** 0.5


def test_drop_path_zeroes_whole_images_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(20_000, 1, 2, 2)
    out = DropPath(0.3)(x)

    assert torch.equal(out[:, :, :1, :1].expand_as(out), out)
    assert sorted(out.unique().tolist()) == pytest.approx([0, 1 / 0.7])
    assert (out == 0)[:, 0, 0, 0].float().mean().item() == pytest.approx(0.3, abs=5 * 0.0033)


def test_drop_path_passes_on_in_evaluation_and_at_probability_0():
    x = images()

    assert DropPath(0.3).eval()(x) is x
    assert DropPath()(x) is x


def test_an_nb101_convolution_is_convolution_norm_relu():
    op, x = ConvBNReLU(4, 6, 3).eval(), images()
    (weight,) = weights_of(op)

    expected = (F.conv2d(x, weight, padding=1) * FRESH_NORM).clamp(min=0)

    assert torch.allclose(expected, op(x), atol=1e-6)


def test_an_nb101_norm_keeps_997_thousandths_of_its_average():
    """TensorFlow's momentum is what is kept; torch's default would keep nine tenths."""
    op, x = nb101_op("conv1x1-bn-relu", 4), images()
    (weight,) = weights_of(op)
    op(x)

    expected = 0.003 * F.conv2d(x, weight).mean((0, 2, 3))

    assert torch.allclose(expected, op.norm.running_mean, atol=1e-7)


def test_an_operation_that_changes_the_width():
    x = images()
    skip = nb201_op("skip_connect", 6, n_in=4).eval()
    (weight,) = weights_of(skip)

    assert torch.allclose(F.conv2d(x, weight) * FRESH_NORM, skip(x), atol=1e-6)  # No ReLU.
    assert nb201_op("nor_conv_3x3", 6, n_in=4)(x).shape == (3, 6, 8, 8)
    for name in ("none", "avg_pool_3x3"):
        with pytest.raises(KeyError):
            nb201_op(name, 6, n_in=4)


@pytest.mark.parametrize("make", [nb201_op, nb101_op, lambda name, n: darts_op(name, n, 1)])
def test_an_operation_that_is_none_is_refused(make):
    with pytest.raises(KeyError):
        make("conv", 4)
