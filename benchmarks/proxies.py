"""Speed of zero-cost proxies on NB201 networks, as a ratio to plain code for one score at a time.

    python benchmarks/proxies.py [--cells N] [--batch N] [--threads N] [--processor-time]

The plain code is below: every score builds its network, runs it whole and in torch's own layout,
and follows its formula by the shortest way. Both sides score the same weights and random images, in
turn, cell by cell; building the network counts on both. A ratio is the median over cells.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness.arch import Arch
from harness.spaces.nb201 import TopologySpace
from protocols.nets.nb201 import Network
from protocols.probe import score_all
from protocols.training import Labelled, seed_weights

SIDE, N_CLASSES = 32, 10
ALONE = ("synflow", "snip", "grasp", "jacob_cov")
TOGETHER = ("synflow", "snip", "grad_norm", "jacob_cov", "nwot")
TARGETS = {"alone": 1.5, "together": 2.5}


def layers(net: nn.Module) -> list[nn.Module]:
    return [module for module in net.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


def synflow(net: nn.Module, batch: Labelled) -> float:
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    net.double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    net(torch.ones_like(batch.images[:1], dtype=torch.float64)).sum().backward()
    found = [layer.weight for layer in layers(net) if layer.weight.grad is not None]
    return sum(float((weight.detach() * weight.grad).abs().sum()) for weight in found)


def snip(net: nn.Module, batch: Labelled) -> float:
    F.cross_entropy(net(batch.images), batch.labels).backward()
    found = [layer.weight for layer in layers(net) if layer.weight.grad is not None]
    return sum(float((weight.detach() * weight.grad).abs().sum()) for weight in found)


def grad_norm(net: nn.Module, batch: Labelled) -> float:
    F.cross_entropy(net(batch.images), batch.labels).backward()
    found = [layer.weight for layer in layers(net) if layer.weight.grad is not None]
    return sum(float(weight.grad.norm()) for weight in found)


def grasp(net: nn.Module, batch: Labelled) -> float:
    weights = [layer.weight for layer in layers(net)]

    def gradient(**settings: bool) -> tuple[Tensor | None, ...]:
        loss = F.cross_entropy(net(batch.images), batch.labels)
        return torch.autograd.grad(loss, weights, allow_unused=True, **settings)

    first, second = gradient(), gradient(create_graph=True)
    pairs = zip(first, second, strict=True)
    sum((g.detach() * again).sum() for g, again in pairs if g is not None).backward()
    return -sum(float((w.detach() * w.grad).sum()) for w in weights if w.grad is not None)


def jacob_cov(net: nn.Module, batch: Labelled) -> float:
    images = batch.images.clone().requires_grad_()
    logits = net(images)
    logits.backward(torch.ones_like(logits))
    values, _ = np.linalg.eig(np.corrcoef(images.grad.flatten(1).numpy()))
    return -float(np.sum(np.log(values + 1e-5) + 1 / (values + 1e-5)))


class Kernel(TorchFunctionMode):
    """Sums the kernel over the calls of ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.relu:
            on = (args[0].flatten(1) > 0).float()
            self.total = self.total + on @ on.T + (1 - on) @ (1 - on).T
        return func(*args, **(kwargs or {}))


def nwot(net: nn.Module, batch: Labelled) -> float:
    with torch.no_grad(), Kernel() as kernel:
        net(batch.images)
    return float(np.linalg.slogdet(kernel.total.double().numpy())[1])


PLAIN: dict[str, Callable[[nn.Module, Labelled], float]] = {
    "synflow": synflow,
    "snip": snip,
    "grad_norm": grad_norm,
    "grasp": grasp,
    "jacob_cov": jacob_cov,
    "nwot": nwot,
}


def build(arch: Arch, *, only_live: bool) -> Network:
    seed_weights(0)
    return Network(arch, n_classes=N_CLASSES, only_live=only_live)


def plainly(arch: Arch, batch: Labelled, names: tuple[str, ...]) -> list[float]:
    return [PLAIN[name](build(arch, only_live=False), batch) for name in names]


def ours(arch: Arch, batch: Labelled, names: tuple[str, ...]) -> list[float]:
    scored = score_all(build(arch, only_live=True), batch, names, seed=0)
    return [scored[name].value for name in names]


def compare(
    label: str,
    names: tuple[str, ...],
    archs: list[Arch],
    batch: Labelled,
    clock: Callable[[], float],
) -> None:
    def timed(call: Callable[..., list[float]], arch: Arch) -> tuple[float, list[float]]:
        started = clock()
        found = call(arch, batch, names)
        return clock() - started, found

    target = TARGETS["together" if len(names) > 1 else "alone"]
    times, error = [], 0.0
    for arch in archs:
        one, expected = timed(plainly, arch)
        other, found = timed(ours, arch)
        times.append((one, other))
        for name, value, wanted in zip(names, found, expected, strict=True):
            if name != "nwot":  # Dead ReLUs count in the plain kernel: see the proxy.
                error = max(error, abs(value / wanted - 1))
    ratio = statistics.median(one / other for one, other in times)
    rates = [1 / statistics.median(side) for side in zip(*times, strict=True)]
    mark = "ok" if ratio >= target else "MISSED"
    print(
        f"{label}: {rates[1]:.2f} cells/s, plain {rates[0]:.2f}; ratio {ratio:.2f}"
        f" (target >= {target}) {mark}; largest relative difference {error:.0e}",
        flush=True,
    )


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Prints cells a second, ratios and the growth of memory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", type=int, default=20, help="cells, drawn with seed 0")
    parser.add_argument("--batch", type=int, default=64, help="images of the batch")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="not the wall clock: for one thread on a busy machine",
    )
    options = parser.parse_args()
    clock = time.process_time if options.processor_time else time.perf_counter
    torch.set_num_threads(options.threads)
    rng, space = np.random.default_rng(0), TopologySpace()
    archs = [space.sample(rng) for _ in range(options.cells)]
    draw = torch.Generator().manual_seed(0)
    batch = Labelled(
        torch.randn(options.batch, 3, SIDE, SIDE, generator=draw),
        torch.randint(N_CLASSES, (options.batch,), generator=draw),
    )
    print(f"{options.cells} cells, {options.batch} images, {options.threads} threads")
    started = clock()
    for arch in archs:
        build(arch, only_live=True)
    print(f"building a network: {(clock() - started) / len(archs) * 1e3:.0f} ms, on both sides")
    everything = (*TOGETHER, "grasp")
    largest = Arch("nb201", (3,) * 6)
    ours(largest, batch, everything)  # Warm-up, and the most memory that one cell can need.
    plainly(largest, batch, everything)
    for name in ALONE:
        compare(name, (name,), archs, batch, clock)
    compare(" + ".join(TOGETHER), TOGETHER, archs, batch, clock)
    before = peak_mb()
    for arch in archs:
        ours(arch, batch, everything)
    grown = peak_mb() - before
    print(f"peak memory {peak_mb():.0f} MB; {grown:.0f} MB of it by {options.cells} cells more")


if __name__ == "__main__":
    main()
