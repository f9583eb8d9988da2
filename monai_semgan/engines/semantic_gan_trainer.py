# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Training of the generator with both discriminators (Li et al., CVPR 2021, equation 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from monai.engines import IterationEvents, Trainer
from monai.utils import CommonKeys as Keys
from monai.utils import GanKeys
from torch import Tensor, nn

from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader
from monai_semgan.engines.codes import draw_codes
from monai_semgan.engines.ema import ExponentialMovingAverage
from monai_semgan.losses import (
    FeatureMatchingLoss,
    HingeAdversarialLoss,
    NonSaturatingLoss,
    PathLengthPenalty,
    R1Penalty,
)
from monai_semgan.networks.label_map import label_to_map, logits_to_map
from monai_semgan.networks.nets import ImageDiscriminator, JointDiscriminator, SemanticGenerator
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation
from monai_semgan.utils import keep_freed_memory


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


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Keep gradients out of the networks' weights; they still flow through to the input."""
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)


class SemanticGANTrainer(Trainer):
    """Train a :class:`SemanticGenerator` against an image and a joint discriminator.

    One generator pass an iteration serves both discriminators and the generator's own step. An iteration is a row of
    phases: the two discriminators, their lazy R1, the generator, its lazy path length, the average. Autocast covers
    the first and third; the regularisers run in fp32.

    ``state.output`` holds the losses as floats: ``loss`` and ``g_loss`` (generator), ``d_loss`` (sum of both
    discriminators), ``d_image``, ``d_joint``, ``g_image``, ``g_joint``, ``feature_matching``, ``real_sign``,
    ``augment_p``, and ``r1_image``, ``r1_joint``, ``path_length`` of the last time they ran.

    Args:
        device: device to train on.
        max_epochs: number of epochs of ``len(train_data_loader)`` steps.
        train_data_loader: joins the image and the pair stream.
        generator: the generator.
        image_discriminator: D_r, sees all images.
        joint_discriminator: D_m, sees pairs.
        lr: learning rate of all three Adam optimisers.
        r1_image: R1 penalty of D_r.
        r1_joint: R1 penalty of D_m.
        r1_interval: steps from one R1 update to the next; 0 never.
        path_length: path length penalty.
        path_length_interval: steps from one path length update to the next; 0 never.
        feature_matching: feature matching on D_m.
        joint_weight: weight of D_m in the generator's loss.
        style_mixing: probability that an image takes two latents.
        jitter: augmentation of the real images and pairs, which the generator is meant to learn.
        augmentation: augmentation of all that D_r sees, real or fake.
        pair_augmentation: the same for D_m, which sees few pairs again and again and needs more of it.
        real_sign_target: adaptive strength: mean sign of D_r on real images at which ``augmentation.p`` stays put;
            above it p grows. None keeps p.
        adaptation_images: number of images in which p can move by 1.
        ema_half_life: half-life in images of the weight average.
        amp: whether to run in bf16 autocast.
        kwargs: further arguments of MONAI's ``Trainer``, such as ``train_handlers``.

    Raises:
        ValueError: when the networks do not fit each other, and for settings out of range.
    """

    def __init__(
        self,
        *,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: SemiSupervisedLoader,
        generator: SemanticGenerator,
        image_discriminator: ImageDiscriminator,
        joint_discriminator: JointDiscriminator,
        lr: float = 0.002,
        r1_image: R1Penalty | None = None,
        r1_joint: R1Penalty | None = None,
        r1_interval: int = 16,
        path_length: PathLengthPenalty | None = None,
        path_length_interval: int = 4,
        feature_matching: FeatureMatchingLoss | None = None,
        joint_weight: float = 1.0,
        style_mixing: float = 0.9,
        jitter: DifferentiableAugmentation | None = None,
        augmentation: DifferentiableAugmentation | None = None,
        pair_augmentation: DifferentiableAugmentation | None = None,
        real_sign_target: float | None = None,
        adaptation_images: int = 100_000,
        ema_half_life: float = 10_000.0,
        amp: bool = False,
        train_handlers: Sequence[Any] | None = None,
        **kwargs: Any,
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
        if lr <= 0 or adaptation_images < 1 or not 0.0 <= style_mixing <= 1.0:
            raise ValueError(
                f"lr {lr} must be positive, adaptation_images {adaptation_images} at least 1 and style_mixing "
                f"{style_mixing} in [0, 1]"
            )
        if min(r1_interval, path_length_interval) < 0:
            raise ValueError(
                f"r1_interval {r1_interval} and path_length_interval {path_length_interval} must not be negative; "
                "0 switches the regulariser off"
            )
        keep_freed_memory(device)
        super().__init__(
            device=torch.device(device),
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            epoch_length=len(train_data_loader),
            handlers=train_handlers,
            **kwargs,
        )
        # not MONAI's own amp, which makes a gradient scaler that bf16 has no use for
        self.bf16 = amp
        self.loader = train_data_loader
        self.generator = generator.to(torch.device(device)).to(memory_format=torch.channels_last)
        self.image_discriminator = image_discriminator.to(torch.device(device)).to(memory_format=torch.channels_last)
        self.joint_discriminator = joint_discriminator.to(torch.device(device)).to(memory_format=torch.channels_last)
        self.ema = ExponentialMovingAverage(self.generator, half_life=ema_half_life)
        self.g_optimizer = lazy_adam(generator, lr, path_length_interval)
        self.d_image_optimizer = lazy_adam(image_discriminator, lr, r1_interval)
        self.d_joint_optimizer = lazy_adam(joint_discriminator, lr, r1_interval)
        self.image_loss = NonSaturatingLoss()
        self.joint_loss = HingeAdversarialLoss()
        self.r1_image = r1_image or R1Penalty()
        self.r1_joint = r1_joint or R1Penalty()
        self.r1_interval = r1_interval
        self.path_length = (path_length or PathLengthPenalty()).to(device)
        self.path_length_interval = path_length_interval
        self.feature_matching = feature_matching or FeatureMatchingLoss()
        self.joint_weight = joint_weight
        self.style_mixing = style_mixing
        self.jitter = (jitter or DifferentiableAugmentation()).to(device)
        self.augmentation = (augmentation or DifferentiableAugmentation()).to(device)
        self.pair_augmentation = (pair_augmentation or DifferentiableAugmentation()).to(device)
        self.real_sign_target = real_sign_target
        self.adaptation_images = adaptation_images
        self.lazy: dict[str, float] = {"r1_image": 0.0, "r1_joint": 0.0, "path_length": 0.0}

    @property
    def checkpoint(self) -> dict[str, Any]:
        """Everything whose state a resumed run needs, by name, for :class:`ResumableCheckpoint`."""
        return {
            "generator": self.generator,
            "generator_ema": self.ema.average,
            "image_discriminator": self.image_discriminator,
            "joint_discriminator": self.joint_discriminator,
            "g_optimizer": self.g_optimizer,
            "d_image_optimizer": self.d_image_optimizer,
            "d_joint_optimizer": self.d_joint_optimizer,
            "path_length": self.path_length,
            "augmentation": self.augmentation,
        }

    def _iteration(self, engine: Any, batch: dict[str, Tensor]) -> Any:
        step = self.state.iteration
        real = batch["image"].to(self.state.device, non_blocking=True)
        pair_image = batch["pair_image"].to(self.state.device, non_blocking=True)
        pair_label = label_to_map(batch["pair_label"].to(self.state.device), self.generator.label_channels)
        real, _ = self.jitter(real)
        pair_image, pair_label = self.jitter(pair_image, pair_label)
        self.generator.train()

        with self.autocast():
            fake, fake_label = self.draw(len(real))
        pairs = min(len(pair_image), len(real))

        losses, real_features = self.discriminator_phase(real, pair_image, pair_label, fake, fake_label, pairs)
        if self.r1_interval and step % self.r1_interval == 0:
            self.r1_phase(real, pair_image, pair_label)
        losses |= self.generator_phase(fake, fake_label, pairs, real_features)
        if self.path_length_interval and step % self.path_length_interval == 0:
            self.path_length_phase(max(1, len(real) // 2))
        self.ema.update(len(real), step * len(real))

        self.adapt(losses["real_sign"], len(real))
        losses |= self.lazy | {"augment_p": float(self.augmentation.p)}
        engine.state.output = losses | {
            Keys.LOSS: losses[GanKeys.GLOSS],
            Keys.IMAGE: real,
            GanKeys.FAKES: fake.detach(),
            Keys.PRED: fake_label.detach(),
        }
        # decollates the output, the form that MONAI's handlers and post-processing take
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def autocast(self) -> torch.autocast:
        """bf16 autocast on the training device, or a context that does nothing without ``amp``."""
        return torch.autocast(self.state.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def draw_codes(self, batch: int) -> Tensor:
        """Draw W+ codes with style mixing, ``(batch, num_codes, latent_dim)``, and track their mean."""
        w, wplus = draw_codes(self.generator, batch, self.style_mixing)
        self.generator.track_mean_w(w)
        return wplus

    def draw(self, batch: int) -> tuple[Tensor, Tensor]:
        """Draw images and label maps in [-1, 1] with a graph back to the generator."""
        image, logits = self.generator.synthesis(self.draw_codes(batch), self.generator.random_noise(batch))
        return image, logits_to_map(logits)

    def discriminator_phase(
        self, real: Tensor, pair_image: Tensor, pair_label: Tensor, fake: Tensor, fake_label: Tensor, pairs: int
    ) -> tuple[dict[str, Any], list[list[Tensor]]]:
        """One step of D_r on images and of D_m on pairs; returns losses and D_m's features of the real pairs."""
        # real and drawn ones pass in one batch, which costs less than two
        number = len(pair_image)
        with self.autocast():
            images, _ = self.augmentation(torch.cat([real, fake.detach()]))
            real_logits, fake_logits = self.image_discriminator(images, parts=2).chunk(2)
            d_image = self.image_loss(real_logits, True) + self.image_loss(fake_logits, False)
            logits, features = self.joint_discriminator(
                *self.pair_augmentation(
                    torch.cat([pair_image, fake[:pairs].detach()]), torch.cat([pair_label, fake_label[:pairs].detach()])
                )
            )
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
        return losses, [[feature[:number].detach() for feature in scale] for scale in features]

    def r1_phase(self, real: Tensor, pair_image: Tensor, pair_label: Tensor) -> None:
        """One step of both discriminators on R1 alone, its gain corrected for the interval."""
        image = self.augmentation(real)[0].detach().float().requires_grad_()
        r1_image = self.r1_image(self.image_discriminator(image), image)
        self.step(r1_image * self.r1_interval, self.d_image_optimizer)
        image, label = (x.detach().float().requires_grad_() for x in self.pair_augmentation(pair_image, pair_label))
        r1_joint = self.r1_joint(self.joint_discriminator(image, label)[0], image, label)
        self.step(r1_joint * self.r1_interval, self.d_joint_optimizer)
        self.lazy |= {"r1_image": r1_image.item(), "r1_joint": r1_joint.item()}

    def generator_phase(
        self, fake: Tensor, fake_label: Tensor, pairs: int, real_features: list[list[Tensor]]
    ) -> dict[str, Any]:
        """One step of G: D_r on the image, D_m and feature matching on the label map beside the stopped image."""
        with self.autocast(), frozen(self.image_discriminator, self.joint_discriminator):
            g_image = self.image_loss(self.image_discriminator(self.augmentation(fake)[0]), True, False)
            logits, features = self.joint_discriminator(
                *self.pair_augmentation(fake[:pairs].detach(), fake_label[:pairs])
            )
            g_joint = self.joint_loss(logits, True, False)
            matching = self.feature_matching(features, real_features)
            total = g_image + self.joint_weight * (g_joint + matching)
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
        self.step(penalty * self.path_length_interval, self.g_optimizer)
        self.lazy["path_length"] = penalty.item()

    def step(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Back-propagate and update; a loss that is not finite stops the training.

        Raises:
            FloatingPointError: when the loss is NaN or infinite.
        """
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"a loss is {loss.item()} at iteration {self.state.iteration}: lower lr or switch amp off; "
                "the last checkpoint is intact"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def adapt(self, real_sign: float, batch: int) -> None:
        """Move the augmentation's p towards the target of D_r's sign on real images (Karras et al., 2020, eq. 1)."""
        if self.real_sign_target is not None:
            move = batch / self.adaptation_images * (1 if real_sign > self.real_sign_target else -1)
            self.augmentation.p.add_(move).clamp_(0.0, 1.0)
