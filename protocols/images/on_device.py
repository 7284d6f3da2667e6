"""A whole image set on one device as bytes, and float batches that are made there.

An epoch is a list of indices in the order of `epoch_order`. All chance comes from one
torch.Generator, is drawn for the whole epoch before its first batch, and is then on the device: the
loop over batches never waits for the device, and an image's augmentation does not depend on the
batch size. A generator of the processor gives the same epochs on every device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.errors import InvalidSpec, unknown
from harness.seeds import derive
from protocols.images.image_set import Augmentation, ImageSet, Normalisation
from protocols.training import Labelled

PLAIN = Augmentation()

Indices = NDArray[np.int64]


def epoch_order(indices: Indices, seed: int, epoch: int, stream: str = "batches") -> Indices:
    """The indices in the order in which an epoch visits them.

    It depends on the seed, the epoch (from 1) and the stream's name alone, so that a run can be
    taken up at any epoch, and that all networks of a seed see the same batches.
    """
    return derive(seed, stream, f"epoch {epoch}").permutation(indices)


@final
class DeviceImages:
    """The splits of an image set on a device.

    normalisation: other constants than those of the data set's description.
    """

    def __init__(
        self,
        images: ImageSet,
        device: torch.device | str,
        normalisation: Normalisation | None = None,
    ) -> None:
        self.about = images.about
        self.device = torch.device(device)
        self._stored = {
            name: Labelled(
                torch.from_numpy(split.images).to(self.device),
                torch.from_numpy(split.labels).to(self.device),
            )
            for name, split in images.splits.items()
        }
        constants = normalisation or images.about.normalisation
        std = np.array(constants.std).reshape(1, -1, 1, 1)
        mean = np.array(constants.mean).reshape(1, -1, 1, 1)
        self._scale = torch.from_numpy((1 / std).astype(np.float32)).to(self.device)
        self._shift = torch.from_numpy((-mean / std).astype(np.float32)).to(self.device)

    def stored(self, split: str) -> Labelled:
        """The split's own pixels, (n, channels, height, width) as they are stored, and labels.

        Raises: UnknownName.
        """
        if split not in self._stored:
            raise unknown(f"split of {self.about.name}", split, self._stored)
        return self._stored[split]

    def labelled(self, split: str, indices: Indices | None = None) -> Labelled:
        """Normalised images of a split or of some of it, all at once, without augmentation.

        Raises: UnknownName, or InvalidSpec for indices that the split lacks.
        """
        held = self.stored(split)
        if indices is None:
            return Labelled(self._normalised(held.images), held.labels)
        at = self._on_device(indices, len(held))
        return Labelled(self._normalised(held.images[at]), held.labels[at])

    def batches(
        self,
        split: str,
        indices: Indices,
        batch_size: int,
        generator: torch.Generator | None = None,
        *,
        augmentation: Augmentation = PLAIN,
    ) -> Iterator[Labelled]:
        """Normalised batches (batch_size, channels, height, width), in the order of the indices.

        The last one holds what is left. The generator moves on when this is called, by as much
        for any augmentation but PLAIN; PLAIN takes none.

        Raises: UnknownName; InvalidSpec for indices that the split lacks, a batch size below 1, a
            missing generator, or images that are not square where they are to be cut.
        """
        held = self.stored(split)
        if batch_size < 1:
            raise InvalidSpec(f"A batch of {batch_size} images is none.", "Give one or more.")
        height, width = held.images.shape[2:]
        if height != width and augmentation != PLAIN:
            raise InvalidSpec(f"Images of {height} x {width} pixels are not square.")
        at = self._on_device(indices, len(held))
        chance = _drawn(augmentation, len(at), width, generator).to(self.device)
        return self._made(
            held, torch.split(at, batch_size), torch.split(chance, batch_size), augmentation
        )

    def _made(
        self,
        held: Labelled,
        indices: tuple[Tensor, ...],
        chances: tuple[Tensor, ...],
        augmentation: Augmentation,
    ) -> Iterator[Labelled]:
        for at, chance in zip(indices, chances, strict=True):
            if augmentation.padding or augmentation.flip:
                pixels = _moved(held.images, at, chance, augmentation.padding)
            else:
                pixels = held.images[at]
            images = self._normalised(pixels)
            if augmentation.cutout:
                images.mul_(_kept(chance, augmentation.cutout, images.shape[-1]))
            yield Labelled(images, held.labels[at])

    def _normalised(self, pixels: Tensor) -> Tensor:
        return (pixels * self._scale).add_(self._shift)

    def _on_device(self, indices: Indices, n: int) -> Tensor:
        if len(indices) == 0 or indices.min() < 0 or indices.max() >= n:
            raise InvalidSpec(
                f"The split's images have the indices 0 to {n - 1}, and not all that are given.",
                "Give indices of this split.",
            )
        return torch.from_numpy(np.asarray(indices, dtype=np.int64)).to(self.device)


def _drawn(
    augmentation: Augmentation, n: int, side: int, generator: torch.Generator | None
) -> Tensor:
    """(n, 5) whole numbers: the window's row and column, flipped or not, the square's centre."""
    if augmentation == PLAIN:
        return torch.zeros((n, 0), dtype=torch.int64)
    if generator is None:
        raise InvalidSpec("Augmentation needs chance.", "Give a torch.Generator.")
    places = 2 * augmentation.padding + 1
    limits = (places, places, 2 if augmentation.flip else 1, side, side)
    columns = [
        torch.randint(limit, (n,), generator=generator, device=generator.device) for limit in limits
    ]
    return torch.stack(columns, dim=1)


def _moved(stored: Tensor, at: Tensor, chance: Tensor, padding: int) -> Tensor:
    """(batch, channels, side, side): windows of the padded images, some of them mirrored.

    The pixels are taken one by one from where the window lies; those in the padding become 0.
    """
    channels, side = stored.shape[1], stored.shape[-1]
    step = torch.arange(side, device=stored.device)
    top, left, mirrored = chance[:, :3, None].unbind(dim=1)
    rows = step + top - padding
    columns = torch.where(mirrored == 1, side - 1 - step, step) + left - padding
    inside = _within(rows, side)[:, None, :, None] & _within(columns, side)[:, None, None, :]
    pixels = stored[
        at[:, None, None, None],
        torch.arange(channels, device=stored.device)[:, None, None],
        rows.clamp(0, side - 1)[:, None, :, None],
        columns.clamp(0, side - 1)[:, None, None, :],
    ]
    return pixels.mul_(inside)


def _within(places: Tensor, side: int) -> Tensor:
    return (places >= 0) & (places < side)


def _kept(chance: Tensor, length: int, side: int) -> Tensor:
    """(batch, 1, side, side): False in the square around the drawn centre.

    It reaches from length // 2 before the centre to length // 2 after it, the end left out: DARTS
    official code, cnn/utils.py, Cutout.
    """
    step = torch.arange(side, device=chance.device)
    away = step - chance[:, 3:5, None]  # (batch, 2, side)
    cut = (away >= -(length // 2)) & (away < length // 2)
    return ~(cut[:, 0, None, :, None] & cut[:, 1, None, None, :])
