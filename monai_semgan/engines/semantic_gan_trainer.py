# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Training of the generator with both discriminators (Li et al., CVPR 2021, equation 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from monai.utils import CommonKeys as Keys
from monai.utils import GanKeys
from torch import Tensor, nn

from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader
from monai_semgan.engines.ema import ExponentialMovingAverage
from monai_semgan.engines.extension import GANExtension
from monai_semgan.engines.semi_supervised_trainer import SemiSupervisedTrainer
from monai_semgan.losses import (
    FeatureMatchingLoss,
    HingeAdversarialLoss,
    NonSaturatingLoss,
    PathLengthPenalty,
    R1Penalty,
)
from monai_semgan.losses.encoder import frozen
from monai_semgan.networks.label_map import logits_to_map
from monai_semgan.networks.nets import ImageDiscriminator, JointDiscriminator, SemanticGenerator


def lazy_adam(
    network: nn.Module, lr: float, interval: int, betas: tuple[float, float] = (0.0, 0.99)
) -> torch.optim.Adam:
    r"""Adam corrected for lazy regularisation (Karras et al., CVPR 2020, appendix B).

    With a regulariser every k-th step, :math:`c = k / (k + 1)` scales the learning rate and is the exponent of both
    betas, as the regulariser's steps are updates of their own.

    Args:
        network: network to optimise.
        lr: learning rate.
        interval: k; 0 when the network has no lazy regulariser.
        betas: Adam's decay rates.
    """
    c = interval / (interval + 1) if interval else 1.0
    return torch.optim.Adam(network.parameters(), lr=lr * c, betas=(betas[0] ** c, betas[1] ** c))


@dataclass(frozen=True)
class GANSettings:
    """Settings of the GAN's training.

    Args:
        lr: learning rate of all three Adam optimisers.
        joint_weight: weight of D_m in the generator's loss.
        feature_matching: feature matching on D_m.
        r1_image: R1 penalty of D_r.
        r1_joint: R1 penalty of D_m.
        r1_interval: steps from one R1 update to the next; 0 never.
        path_length: path length penalty.
        path_length_interval: steps from one path length update to the next; 0 never.
        style_mixing: probability that an image takes two latents.
        ema_half_life: half-life in images of the weight average.

    Raises:
        ValueError: for settings out of range.
    """

    lr: float = 0.002
    joint_weight: float = 1.0
    feature_matching: FeatureMatchingLoss = field(default_factory=FeatureMatchingLoss)
    r1_image: R1Penalty = field(default_factory=R1Penalty)
    r1_joint: R1Penalty = field(default_factory=R1Penalty)
    r1_interval: int = 16
    path_length: PathLengthPenalty = field(default_factory=PathLengthPenalty)
    path_length_interval: int = 4
    style_mixing: float = 0.9
    ema_half_life: float = 10_000.0

    def __post_init__(self) -> None:
        if self.lr <= 0 or not 0.0 <= self.style_mixing <= 1.0:
            raise ValueError(f"lr {self.lr} must be positive and style_mixing {self.style_mixing} in [0, 1]")
        if min(self.r1_interval, self.path_length_interval) < 0:
            raise ValueError(
                f"r1_interval {self.r1_interval} and path_length_interval {self.path_length_interval} must not be "
                "negative; 0 switches the regulariser off"
            )


class SemanticGANTrainer(SemiSupervisedTrainer):
    r"""Train a :class:`SemanticGenerator` against an image and a joint discriminator (3).

    With :math:`(x, y) = G(z)`, D_r learns to tell x from the image stream (non-saturating logistic loss) and D_m the
    pair from labelled ones (hinge loss). The generator's loss is D_r's on x, plus D_m's and feature matching on
    :math:`(\operatorname{sg}(x), y)`, whose image is stopped: label maps follow images and not the reverse.

    One generator pass an iteration serves both discriminators and the generator's own step. An iteration is a row of
    phases: the two discriminators, their lazy R1, the generator, its lazy path length, the average. Autocast covers
    the first and third; the regularisers run in fp32.

    What goes beyond the paper are extensions (:class:`GANExtension`).

    ``state.output`` holds the losses as floats: ``loss`` and ``g_loss`` (generator), ``d_loss`` (sum of both
    discriminators), ``d_image``, ``d_joint``, ``g_image``, ``g_joint``, ``feature_matching``, ``real_sign`` (mean sign
    of D_r on real images), and ``r1_image``, ``r1_joint``, ``path_length`` of the last time they ran.

    Args:
        generator: the generator.
        image_discriminator: D_r, sees all images.
        joint_discriminator: D_m, sees pairs.
        settings: losses, their weights and intervals, and rates.
        device, max_epochs, train_data_loader, extensions, amp, train_handlers: see :class:`SemiSupervisedTrainer`.

    Raises:
        ValueError: when the networks do not fit each other.
    """

    extends = GANExtension

    def __init__(
        self,
        *,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: SemiSupervisedLoader,
        generator: SemanticGenerator,
        image_discriminator: ImageDiscriminator,
        joint_discriminator: JointDiscriminator,
        settings: GANSettings | None = None,
        extensions: Mapping[str, GANExtension] | None = None,
        amp: bool | str = False,
        train_handlers: Sequence[Any] | None = None,
    ) -> None:
        if (image_discriminator.size, image_discriminator.in_channels) != (generator.size, generator.image_channels):
            raise ValueError(
                f"the image discriminator takes {image_discriminator.in_channels} x {image_discriminator.size} px, "
                f"the generator draws {generator.image_channels} x {generator.size} px"
            )
        if joint_discriminator.in_channels != generator.image_channels + generator.label_channels:
            raise ValueError(
                f"the joint discriminator takes {joint_discriminator.in_channels} channels, the generator draws "
                f"{generator.image_channels} image and {generator.label_channels} label channels"
            )
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            extensions=extensions,
            amp=amp,
            train_handlers=train_handlers,
        )
        self.settings = settings = settings or GANSettings()
        self.generator: SemanticGenerator = self.to_device(generator)
        self.image_discriminator: ImageDiscriminator = self.to_device(image_discriminator)
        self.joint_discriminator: JointDiscriminator = self.to_device(joint_discriminator)
        self.ema = ExponentialMovingAverage(self.generator, half_life=settings.ema_half_life)
        self.g_optimizer = lazy_adam(generator, settings.lr, settings.path_length_interval)
        self.d_image_optimizer = lazy_adam(image_discriminator, settings.lr, settings.r1_interval)
        self.d_joint_optimizer = lazy_adam(joint_discriminator, settings.lr, settings.r1_interval)
        self.image_loss = NonSaturatingLoss()
        self.joint_loss = HingeAdversarialLoss()
        self.path_length = settings.path_length.to(self.state.device)
        self.lazy = {"r1_image": 0.0, "r1_joint": 0.0, "path_length": 0.0}
        self.attach_extensions()

    @property
    def checkpoint(self) -> dict[str, Any]:
        """Everything whose state a resumed run needs, by name, for :class:`ResumableCheckpoint`."""
        return super().checkpoint | {
            "generator": self.generator,
            "generator_ema": self.ema.average,
            "image_discriminator": self.image_discriminator,
            "joint_discriminator": self.joint_discriminator,
            "g_optimizer": self.g_optimizer,
            "d_image_optimizer": self.d_image_optimizer,
            "d_joint_optimizer": self.d_joint_optimizer,
            "path_length": self.path_length,
        }

    @property
    def changing_buffers(self) -> list[Tensor]:
        """The mean w of generator and average, the mean path length, and the extensions' own."""
        means = [self.generator.mean_w, self.ema.average.get_buffer("mean_w"), self.path_length.mean_length]
        return means + super().changing_buffers

    def _iteration(self, engine: Any, batch: dict[str, Tensor]) -> Any:
        step = self.state.iteration
        prepared = self.prepare(batch, self.generator.label_channels)
        real, pair_image, pair_label = prepared.images.image, prepared.pairs.image, prepared.pairs.label_map
        assert pair_label is not None
        self.generator.train()

        with self.autocast():
            fake, fake_label = self.draw(len(real))
        pairs = min(len(pair_image), len(real))

        losses, seen = self.discriminator_phase(real, pair_image, pair_label, fake, fake_label, pairs)
        if self.settings.r1_interval and step % self.settings.r1_interval == 0:
            self.r1_phase(real, pair_image, pair_label)
        losses |= self.generator_phase(fake, fake_label, pairs, seen)
        if self.settings.path_length_interval and step % self.settings.path_length_interval == 0:
            self.path_length_phase(max(1, len(real) // 2))
        self.ema.update(len(real))

        for extension in self.extensions.values():
            losses |= extension.follow(losses, len(real))
        return self.decollate(
            losses
            | self.lazy
            | {
                Keys.LOSS: losses[GanKeys.GLOSS],
                Keys.IMAGE: real,
                GanKeys.FAKES: fake.detach(),
                Keys.PRED: fake_label.detach(),
            }
        )

    def show_image(self, image: Tensor) -> Tensor:
        """Images as the extensions show them to D_r."""
        for extension in self.extensions.values():
            image = extension.show_image(image)
        return image

    def show_pair(self, image: Tensor, label_map: Tensor) -> tuple[Tensor, Tensor]:
        """Images and label maps as the extensions show them to D_m."""
        for extension in self.extensions.values():
            image, label_map = extension.show_pair(image, label_map)
        return image, label_map

    def draw_codes(self, batch: int) -> Tensor:
        """Draw W+ codes with style mixing, ``(batch, num_codes, latent_dim)``, and track their mean."""
        w, wplus = self.generator.draw_codes(batch, self.settings.style_mixing)
        self.generator.track_mean_w(w)
        return wplus

    def draw(self, batch: int) -> tuple[Tensor, Tensor]:
        """Draw images and label maps in [-1, 1] with a graph back to the generator."""
        image, logits = self.generator.synthesis(self.draw_codes(batch), self.generator.random_noise(batch))
        return image, logits_to_map(logits)

    def discriminator_phase(
        self, real: Tensor, pair_image: Tensor, pair_label: Tensor, fake: Tensor, fake_label: Tensor, pairs: int
    ) -> tuple[dict[str, Any], tuple[Tensor, Tensor]]:
        """One step of D_r on images and of D_m on pairs; returns losses and the real pairs as D_m saw them."""
        # real and drawn ones pass in one batch, which costs less than two
        number = len(pair_image)
        with self.autocast():
            images = self.show_image(torch.cat([real, fake.detach()]))
            real_logits, fake_logits = self.image_discriminator(images, parts=2).chunk(2)
            d_image = self.image_loss(real_logits, True) + self.image_loss(fake_logits, False)
            pair = self.show_pair(
                torch.cat([pair_image, fake[:pairs].detach()]), torch.cat([pair_label, fake_label[:pairs].detach()])
            )
            logits, _ = self.joint_discriminator(*pair)
            d_joint = self.joint_loss([scale[:number] for scale in logits], True)
            d_joint = d_joint + self.joint_loss([scale[number:] for scale in logits], False)
        for loss, optimizer in ((d_image, self.d_image_optimizer), (d_joint, self.d_joint_optimizer)):
            self.step(loss, optimizer)
        losses = {
            GanKeys.DLOSS: (d_image + d_joint).item(),
            "d_image": d_image.item(),
            "d_joint": d_joint.item(),
            "real_sign": real_logits.detach().sign().float().mean().item(),
        }
        return losses, (pair[0][:number], pair[1][:number])

    def r1_phase(self, real: Tensor, pair_image: Tensor, pair_label: Tensor) -> None:
        """One step of both discriminators on R1 alone, its gain corrected for the interval."""
        image = self.show_image(real).detach().float().requires_grad_()
        r1_image = self.settings.r1_image(self.image_discriminator(image), image)
        self.step(r1_image * self.settings.r1_interval, self.d_image_optimizer)
        image, label = (x.detach().float().requires_grad_() for x in self.show_pair(pair_image, pair_label))
        r1_joint = self.settings.r1_joint(self.joint_discriminator(image, label)[0], image, label)
        self.step(r1_joint * self.settings.r1_interval, self.d_joint_optimizer)
        self.lazy |= {"r1_image": r1_image.item(), "r1_joint": r1_joint.item()}

    def generator_phase(
        self, fake: Tensor, fake_label: Tensor, pairs: int, seen: tuple[Tensor, Tensor]
    ) -> dict[str, Any]:
        """One step of G: D_r on the image, D_m and feature matching on the label map beside the stopped image.

        Features of the real pairs, ``seen``, are those of D_m as it is now, after its own step.
        """
        with self.autocast(), frozen(self.image_discriminator, self.joint_discriminator):
            g_image = self.image_loss(self.image_discriminator(self.show_image(fake)), True, False)
            logits, features = self.joint_discriminator(*self.show_pair(fake[:pairs].detach(), fake_label[:pairs]))
            with torch.no_grad():
                _, real_features = self.joint_discriminator(*seen)
            g_joint = self.joint_loss(logits, True, False)
            matching = self.settings.feature_matching(features, real_features)
            total = g_image + self.settings.joint_weight * (g_joint + matching)
        self.step(total, self.g_optimizer)
        return {
            GanKeys.GLOSS: total.item(),
            "g_image": g_image.item(),
            "g_joint": g_joint.item(),
            "feature_matching": matching.item(),
        }

    def path_length_phase(self, batch: int) -> None:
        """One step of G on the path length alone, its gain corrected for the interval."""
        wplus = self.draw_codes(batch)
        image, _ = self.generator.synthesis(wplus, self.generator.random_noise(batch))
        penalty = self.path_length(image, wplus)
        self.step(penalty * self.settings.path_length_interval, self.g_optimizer)
        self.lazy["path_length"] = penalty.item()
