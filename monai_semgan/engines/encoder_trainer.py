# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Training of the encoder with a frozen generator (Li et al., CVPR 2021, equations 4 to 6)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from monai.engines import IterationEvents, Trainer
from monai.utils import CommonKeys as Keys
from torch import Tensor, nn

from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader
from monai_semgan.engines.codes import draw_codes
from monai_semgan.engines.ema import ExponentialMovingAverage
from monai_semgan.losses import EncoderLoss
from monai_semgan.networks.label_map import label_to_map, logits_to_map, map_to_label
from monai_semgan.networks.nets import SemanticGAN
from monai_semgan.transforms.differentiable_augmentation import DifferentiableAugmentation
from monai_semgan.utils import keep_freed_memory


class EncoderTrainer(Trainer):
    r"""Train the encoder of a :class:`SemanticGAN` on images, labelled pairs and the generator's own samples.

    Images and pairs are rebuilt, :math:`G_x(E(x))`, and the pairs' label maps compared. Samples of the generator come
    with their true label and codes, so they are pairs without end; they carry a weight of their own. The encoder may
    see a perturbed image while the loss asks for the clean one, which prepares it for other scanners.

    A generator that learns too may rehearse what the GAN taught it: samples then come from a copy that stays as the GAN
    left it, and are redrawn from their true codes.

    ``state.output`` holds the floats ``loss``, ``segmentation``, ``reconstruction``, ``synthetic_segmentation``,
    ``synthetic_codes``, ``taught_segmentation``.

    Args:
        device: device to train on.
        max_epochs: number of epochs of ``len(train_data_loader)`` steps.
        train_data_loader: joins the image and the pair stream.
        network: generator and encoder.
        loss: the encoder's loss.
        lr: highest learning rate of Adam; it falls to 0 along a cosine over the run.
        label_lr: learning rate of the generator's tSeg branches, which learn from the labelled pairs beside the
            encoder; 0 keeps them as the GAN left them.
        generator_lr: learning rate of the rest of the synthesis network, which then learns to redraw real images; 0, as
            in the paper, keeps it as the GAN left it.
        rehearse: whether a generator that learns rehearses. It then goes on to draw what its mapping network's codes
            mean, at some cost of what it redraws; without, it knows codes of images alone, such as
            :class:`monai_semgan.networks.nets.WPlusPrior` gives.
        synthetic_batch_size: samples of the generator a batch.
        synthetic_weight: weight of the samples' segmentation loss.
        teacher: network from images to label logits, whose label of an unlabelled image, before jitter and
            augmentation, is learnt; by default the averaged weights (mean teacher: Tarvainen and Valpola, NeurIPS 2017,
            arXiv:1703.01780).
        teacher_weight: weight of the segmentation loss of unlabelled images against the teacher's label; 0 leaves it
            out.
        code_weight: weight of the squared distance of the samples' codes, as a share of their variance.
        style_mixing: probability that a sample takes two latents.
        jitter: geometric augmentation, which image, label and target share.
        augmentation: perturbation of what the encoder sees; its geometric settings must be 0.
        clip: largest norm of the gradient.
        ema_half_life: half-life in images of the weight average.
        ema_ramp_up: the half-life never exceeds this fraction of the images seen.
        amp: whether to run in bf16 autocast.
        kwargs: further arguments of MONAI's ``Trainer``.

    Raises:
        ValueError: when ``augmentation`` moves the image, or the prior of ``prior_samples`` was never fitted.
    """

    def __init__(
        self,
        *,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: SemiSupervisedLoader,
        network: SemanticGAN,
        loss: EncoderLoss,
        lr: float = 1e-3,
        label_lr: float = 0.0,
        generator_lr: float = 0.0,
        rehearse: bool = False,
        prior_samples: bool = False,
        synthetic_batch_size: int = 4,
        synthetic_weight: float = 1.0,
        teacher: nn.Module | None = None,
        teacher_weight: float = 0.0,
        code_weight: float = 0.1,
        style_mixing: float = 0.5,
        jitter: DifferentiableAugmentation | None = None,
        augmentation: DifferentiableAugmentation | None = None,
        clip: float = 5.0,
        ema_half_life: float = 2_000.0,
        ema_ramp_up: float = 0.05,
        amp: bool = False,
        train_handlers: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.augmentation = (augmentation or DifferentiableAugmentation()).to(device)
        if self.augmentation.moves:
            raise ValueError(
                "augmentation moves the image but not its target: put scale, stretch, shift and rotate into jitter"
            )
        if prior_samples and not network.prior.basis.any():
            raise ValueError("the prior knows no codes of images: start from weights of a finished training")
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
        self.network = network.to(torch.device(device)).to(memory_format=torch.channels_last)
        self.loss = loss
        self.ema = ExponentialMovingAverage(self.network, half_life=ema_half_life, ramp_up=ema_ramp_up)
        network.generator.requires_grad_(False)
        self.rehearses = rehearse and bool(label_lr or generator_lr)
        self.prior_samples = prior_samples
        self.gan = copy.deepcopy(network.generator).eval() if self.rehearses else network.generator
        groups = [{"params": list(network.encoder.parameters()), "lr": lr}]
        branches = {name: w for name, w in network.generator.named_parameters() if "to_label." in name}
        synthesis = {name: w for name, w in network.generator.named_parameters() if not name.startswith("mapping.")}
        for weights, rate in (
            (list(branches.values()), label_lr),
            ([w for name, w in synthesis.items() if name not in branches], generator_lr),
        ):
            if rate:
                groups.append({"params": [weight.requires_grad_() for weight in weights], "lr": rate})
        self.optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
        steps = max_epochs * len(train_data_loader)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)
        self.synthetic_batch_size = synthetic_batch_size
        self.synthetic_weight = synthetic_weight
        self.teacher = teacher.to(device).eval().requires_grad_(False) if teacher is not None else self.ema.average
        self.teacher_weight = teacher_weight
        self.code_weight = code_weight
        self.style_mixing = style_mixing
        self.jitter = (jitter or DifferentiableAugmentation()).to(device)
        self.clip = clip

    @property
    def checkpoint(self) -> dict[str, Any]:
        """Everything whose state a resumed run needs, by name, for :class:`ResumableCheckpoint`."""
        return {
            "network": self.network,
            "network_ema": self.ema.average,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
        }

    def _iteration(self, engine: Any, batch: dict[str, Tensor]) -> Any:
        device = self.state.device
        network = self.network.train()
        image = batch["image"].to(device, non_blocking=True)
        image, taught_map = self.jitter(image, self.teach(image) if self.teacher_weight else None)
        pair_map = label_to_map(batch["pair_label"].to(device), network.generator.label_channels)
        pair_image, pair_map = self.jitter(batch["pair_image"].to(device), pair_map)
        synthetic, synthetic_label, codes = self.draw()
        target = torch.cat([pair_image, synthetic, image])
        pairs, samples = len(pair_image), len(synthetic)

        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.bf16):
            wplus = network.encode(self.augmentation(target)[0])
            shown = wplus
            if self.rehearses:
                shown = torch.cat([wplus[:pairs], codes.to(wplus.dtype), wplus[pairs + samples :]])
            reconstruction, logits = network.decode(shown)
            terms = self.loss(reconstruction, target, network, logits[:pairs], map_to_label(pair_map))
            synthetic_segmentation = self.loss.segment(logits[pairs : pairs + samples], synthetic_label)
            taught_segmentation = terms.total.new_zeros(())
            if taught_map is not None:
                taught_segmentation = self.loss.segment(logits[pairs + samples :], map_to_label(taught_map))
        distance = (wplus[pairs : pairs + samples].float() - codes).square().mean()
        synthetic_codes = distance / (codes - network.generator.mean_w).square().mean()
        total = (
            terms.total
            + self.synthetic_weight * synthetic_segmentation
            + self.teacher_weight * taught_segmentation
            + self.code_weight * synthetic_codes
        )
        if not torch.isfinite(total):
            raise FloatingPointError(
                f"the loss is {total.item()} at iteration {self.state.iteration}: lower lr or switch amp off; "
                "the last checkpoint is intact"
            )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), self.clip)
        self.optimizer.step()
        self.schedule.step()
        self.ema.update(len(image), self.state.iteration * len(image))
        engine.state.output = {
            Keys.LOSS: total.item(),
            "segmentation": terms.segmentation.item(),
            "reconstruction": terms.reconstruction.item(),
            "synthetic_segmentation": synthetic_segmentation.item(),
            "synthetic_codes": synthetic_codes.item(),
            "taught_segmentation": taught_segmentation.item(),
            Keys.IMAGE: target,
            Keys.PRED: logits.detach(),
        }
        # decollates the output, the form that MONAI's handlers and post-processing take
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    @torch.no_grad()
    def teach(self, image: Tensor) -> Tensor:
        """Label map that the teacher gives to images, in [-1, 1]."""
        with torch.autocast(self.state.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return logits_to_map(self.teacher(image)).float()

    @torch.no_grad()
    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Draw samples of the GAN: images, their labels (zeros and ones, or class indices) and W+ codes."""
        if self.prior_samples:
            codes = self.network.prior.sample(self.synthetic_batch_size)
        else:
            _, codes = draw_codes(self.gan, self.synthetic_batch_size, self.style_mixing)
        with torch.autocast(self.state.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            image, logits = self.gan.synthesis(codes, self.gan.random_noise(len(codes)))
        return image.float().clamp(-1.0, 1.0), map_to_label(logits), codes
