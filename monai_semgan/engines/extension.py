# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What a variant of a training can change, and the batch that it changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

if TYPE_CHECKING:
    from monai_semgan.engines.encoder_trainer import EncoderTrainer


@dataclass
class Part:
    """Images of one kind in a batch.

    Args:
        image: images in [-1, 1], ``(B, C, S, S)``.
        label_map: their label maps in [-1, 1] or logits, ``(B, L, S, S)``, where labels are known.
        codes: their W+ codes ``(B, N, D)``, where these are known.
    """

    image: Tensor
    label_map: Tensor | None = None
    codes: Tensor | None = None


@dataclass
class SemiSupervisedBatch:
    """A batch on the training's device, with label maps in place of class indices.

    Args:
        images: the image stream, of which no label is known.
        pairs: the labelled pairs.
        added: what extensions add, by name.
    """

    images: Part
    pairs: Part
    added: dict[str, Part] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, Part]:
        """All parts by name: the pairs, what was added, the images."""
        return {"pairs": self.pairs, **self.added, "images": self.images}


class Answer(NamedTuple):
    """What the network in training makes of a part: W+ codes ``(B, N, D)`` and label logits ``(B, L, S, S)``."""

    codes: Tensor
    logits: Tensor


class Extension:
    """A change of a training that goes beyond the paper; every method here changes nothing.

    A trainer calls its extensions in the order in which they are given. A variant of one's own is a subclass that
    overrides what it changes, and one line in a config: ``extensions::NAME: {_target_: my_file.MyVariant}``.
    """

    trainer: Any

    def attach(self, trainer: Any) -> None:
        """Get to know the trainer, which is complete, and move augmentations and networks to its device."""
        self.trainer = trainer
        for item in vars(self).values():
            if isinstance(item, nn.Module):
                item.to(trainer.state.device)

    def prepare(self, batch: SemiSupervisedBatch) -> None:
        """Change a batch before anything is computed of it."""

    @property
    def checkpoint(self) -> nn.Module | None:
        """What a resumed training needs, saved under the extension's name."""
        return None

    @property
    def changing_buffers(self) -> list[Tensor]:
        """Tensors that training changes by other ways than gradients, for several processes to average."""
        return []


class GANExtension(Extension):
    """A change of the GAN's training."""

    def show_image(self, image: Tensor) -> Tensor:
        """Change images, real or drawn, on their way to D_r."""
        return image

    def show_pair(self, image: Tensor, label_map: Tensor) -> tuple[Tensor, Tensor]:
        """Change images and label maps, real or drawn, on their way to D_m."""
        return image, label_map

    def follow(self, losses: dict[str, float], images: int) -> dict[str, float]:
        """Adapt after a step; the numbers returned are put beside the losses.

        Args:
            losses: the step's losses.
            images: number of images of the step.
        """
        return {}


class EncoderExtension(Extension):
    """A change of the encoder's training; its loss, if it has one, is added with its weight to the paper's."""

    weight: float = 0.0
    loss_name: str = ""

    def parameter_groups(self, trainer: EncoderTrainer) -> list[dict[str, Any]]:
        """Groups of weights with their learning rates that Adam trains beside the encoder."""
        return []

    def perturb(self, image: Tensor) -> Tensor:
        """Change what the encoder sees of all parts, ``(B, C, S, S)``, while the loss asks for the unchanged image."""
        return image

    def redraw(self, codes: dict[str, Tensor], batch: SemiSupervisedBatch) -> None:
        """Replace codes, by part, from which images and labels are drawn."""

    def loss(self, batch: SemiSupervisedBatch, answers: dict[str, Answer]) -> Tensor | None:
        """A loss without its weight, computed under the training's autocast."""
        return None
