# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Segmentation by W+ optimisation at test time (Li et al., CVPR 2021, arXiv:2104.05833, equations (7) and (8))."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from torch import Tensor, nn

from monai_semgan.inferers.intensity_curve import IntensityCurve
from monai_semgan.inferers.presets import preset_settings
from monai_semgan.losses.perceptual import PerceptualDistance
from monai_semgan.losses.reconstruction import ReconstructionLoss
from monai_semgan.losses.wplus import WPlusRegulariser
from monai_semgan.networks.blocks import StyleBlock
from monai_semgan.networks.nets import SemanticGAN
from monai_semgan.utils import has_bf16

# of Adam: no steps along gradients that are rounding errors, which differ with the batch
EPSILON = 1e-6
# of Adam for noise maps, whose gradients are as small as their pixels are many
NOISE_EPSILON = 1e-8


class WPlusResult(NamedTuple):
    """What :class:`WPlusInferer` finds, in fp32.

    Attributes:
        logits: label logits, ``(B, L, S, S)``.
        wplus: W+ codes, ``(B, N, D)``.
        reconstruction: images drawn from the codes, through their intensity curves, ``(B, C, S, S)``.
        losses: reconstruction loss of each image, without the regulariser, ``(B,)``.
        steps: steps taken for each image, ``(B,)``.
        curves: values of each image's intensity curve at evenly spaced knots from -1 to 1, ``(B, K)``; -1 and 1, the
            identity, where none was asked for.
    """

    logits: Tensor
    wplus: Tensor
    reconstruction: Tensor
    losses: Tensor
    steps: Tensor
    curves: Tensor


class WPlusInferer(Inferer):
    r"""Find the W+ codes that regenerate images and read their label maps off the generator.

    Codes start at the encoder's, :math:`w^+_0 = E(x^*)`, and Adam lowers
    :math:`\lambda_p d(x^*, G_x(w^+)) + \lambda_3 \|x^* - G_x(w^+)\|_2^2 + \lambda_2 \|w^+ - E(G_x(w^+))\|_2^2`
    of each image, in the coordinates of the network's :class:`monai_semgan.networks.nets.WPlusPreconditioner`. The
    result is :math:`G_y` of the codes with the lowest reconstruction loss on the way. A batch is refined together, yet
    each image on its own: neighbours do not change its result, and one that no longer improves leaves the batch. The
    network, its gradients included, is left as it was; results carry no gradient.

    With ``curve_knots`` an :class:`IntensityCurve` c of each image is found together with its codes, for images of
    scanners that show tissue brighter, darker or inverted: :math:`c(G_x(w^+))` is compared with :math:`x^*`, and
    :math:`\lambda_c \|c - \pm\mathrm{id}\|_2^2` added. Refinement then runs twice, with a curve that rises and with one
    that falls, and the result with the lower reconstruction loss is kept.

    Args:
        steps: number of steps; 0 is the encoder alone, the same as calling the network.
        learning_rate: highest learning rate of Adam.
        betas: how long Adam's two averages remember; the defaults suit a few steps.
        precondition: whether to move in the network's preconditioned coordinates; without, in W+ itself.
        perceptual: kind of the perceptual distance d, or a :class:`PerceptualDistance` with settings of its own.
        perceptual_weight: weight of the perceptual distance.
        l2_weight: weight of the mean squared error.
        regulariser_weight: weight of the W+ regulariser, 0 skips it.
        regulariser_interval: apply the regulariser every so many steps, with so many times its weight.
        warmup: fraction of the steps in which the learning rate rises; the first step already counts.
        rampdown: fraction of the steps in which the learning rate falls along a cosine.
        tolerance: an image leaves when its lowest loss fell by less than this fraction, 0 lets none leave.
        patience: the number of steps over which that fall is measured.
        optimise_noise: refine the noise maps too; the W+ codes alone then no longer redraw the result.
        noise_learning_rate: highest learning rate of the noise maps, in standard deviations of noise.
        curve_knots: knots of the intensity curves, 0 for none; without a step there is none either.
        curve_weight: weight of the curves' distance from the identity, or from the inversion.
        chunk_size: refine at most so many images together, to bound memory; by default all.
        amp: bf16 autocast; overrides an autocast around the call. ``"auto"`` takes it where the processor computes
            bf16 (:func:`monai_semgan.utils.has_bf16`).
        compile: compile a step by ``torch.compile``, which takes a C++ compiler and about a minute at the first step,
            and another at the first batch of another size.

    Raises:
        ValueError: for settings out of their range.

    Example::

        logits = WPlusInferer(steps=50)(images, network)
    """

    def __init__(
        self,
        *,
        steps: int = 50,
        learning_rate: float = 0.05,
        betas: tuple[float, float] = (0.8, 0.99),
        precondition: bool = True,
        perceptual: str | PerceptualDistance = "encoder",
        perceptual_weight: float = 1.0,
        l2_weight: float = 0.1,
        regulariser_weight: float = 1e-3,
        regulariser_interval: int = 1,
        warmup: float = 0.05,
        rampdown: float = 0.25,
        tolerance: float = 0.01,
        patience: int = 10,
        optimise_noise: bool = False,
        noise_learning_rate: float = 1.0,
        curve_knots: int = 0,
        curve_weight: float = 0.01,
        chunk_size: int | None = None,
        amp: bool | str = False,
        compile: bool = False,
    ) -> None:
        super().__init__()
        for name, value, low, high in (
            ("steps", steps, 0, math.inf),
            ("learning_rate", learning_rate, 0, math.inf),
            ("noise_learning_rate", noise_learning_rate, 0, math.inf),
            ("regulariser_weight", regulariser_weight, 0, math.inf),
            ("regulariser_interval", regulariser_interval, 1, math.inf),
            ("warmup", warmup, 0, 1),
            ("rampdown", rampdown, 0, 1),
            ("tolerance", tolerance, 0, 1),
            ("patience", patience, 1, math.inf),
            ("curve_weight", curve_weight, 0, math.inf),
            ("curve_knots", curve_knots or 2, 2, math.inf),
            ("chunk_size", 1 if chunk_size is None else chunk_size, 1, math.inf),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, it must lie between {low} and {high}")
        if amp not in (True, False, "auto"):
            raise ValueError(f"amp is {amp!r}, it must be true, false or 'auto'")
        self.steps = steps
        self.learning_rate = learning_rate
        self.betas = betas
        self.precondition = precondition
        self.loss = ReconstructionLoss(perceptual, perceptual_weight=perceptual_weight, l2_weight=l2_weight)
        self.regulariser = WPlusRegulariser()
        self.regulariser_weight = regulariser_weight
        self.regulariser_interval = regulariser_interval
        self.warmup = warmup
        self.rampdown = rampdown
        self.tolerance = tolerance
        self.patience = patience
        self.optimise_noise = optimise_noise
        self.noise_learning_rate = noise_learning_rate
        self.curve_knots = curve_knots
        self.curve_weight = curve_weight
        self.chunk_size = chunk_size
        self.amp = amp
        self.compiled_objective = torch.compile(self.objective) if compile else self.objective

    @classmethod
    def from_preset(cls, preset: str, *, steps: int = -1, **settings: Any) -> WPlusInferer:
        """Make an inferer of a preset.

        Args:
            preset: ``"fast"``, ``"balanced"`` or ``"best"``.
            steps: number of steps in place of the preset's, which -1 keeps.
            settings: further settings, over those of the preset.

        Raises:
            ValueError: for an unknown preset and for settings out of their range.
        """
        chosen = preset_settings(preset) | settings
        if steps != -1:
            chosen["steps"] = steps
        return cls(**chosen)

    def __call__(
        self,
        inputs: Tensor,
        network: Callable[..., Tensor],
        *args: Any,
        return_details: bool = False,
        starts: Tensor | None = None,
        anchor: Tensor | None = None,
        anchor_weight: float = 0.0,
        find_curves: bool = True,
        **kwargs: Any,
    ) -> Tensor | WPlusResult:
        """Segment a batch of images.

        Args:
            inputs: images in [-1, 1], ``(B, C, S, S)``.
            network: a :class:`monai_semgan.networks.nets.SemanticGAN`, in a parallel wrapper or not.
            args: none are taken.
            return_details: whether to return a :class:`WPlusResult`.
            starts: K codes for each image, ``(B, K, N, D)``; it starts at that with the lowest reconstruction loss in
                place of the encoder's.
            anchor: a code for each image, ``(B, N, D)``, that it is drawn to.
            anchor_weight: weight of the mean squared difference to the anchor.
            find_curves: False leaves out the intensity curves.
            kwargs: none are taken.

        Returns:
            Label logits in fp32, ``(B, L, S, S)``, or a :class:`WPlusResult`. Logits and reconstruction of a
            ``MetaTensor`` carry its metadata and transforms, like the output of a network.

        Raises:
            ValueError: for a network of another type and for images that it cannot take.
            RuntimeError: for ``steps`` above 0 inside ``torch.inference_mode()``.
        """
        if args or kwargs:
            raise ValueError(f"WPlusInferer takes inputs and network only, not {[*args, *kwargs]}")
        network = unwrap(network)
        check_images(inputs, network)
        if self.steps > 0 and torch.is_inference_mode_enabled():
            raise RuntimeError(
                "WPlusInferer refines by gradients, which torch.inference_mode() forbids: call it inside "
                "torch.no_grad() instead, or with steps=0"
            )
        images = inputs.as_subclass(Tensor).detach().float()
        chunks = images.split(self.chunk_size or len(images))
        if self.steps == 0 and not return_details:
            with torch.no_grad(), self.autocast(images):
                return with_metadata(torch.cat([network(chunk).float() for chunk in chunks]), inputs)
        # backward passes must not run under an autocast around the call
        sizes = [len(chunk) for chunk in chunks]
        given = [[None] * len(chunks) if codes is None else codes.split(sizes) for codes in (starts, anchor)]
        with torch.autocast(images.device.type, enabled=False):
            refined = [
                self.refine(chunk, network, *codes, anchor_weight=anchor_weight, find_curves=find_curves)
                for chunk, *codes in zip(chunks, *given)
            ]
        result = join(refined)
        logits = with_metadata(result.logits, inputs)
        if not return_details:
            return logits
        return result._replace(logits=logits, reconstruction=with_metadata(result.reconstruction, inputs))

    def refine(
        self,
        image: Tensor,
        network: SemanticGAN,
        starts: Tensor | None = None,
        anchor: Tensor | None = None,
        *,
        anchor_weight: float = 0.0,
        find_curves: bool = True,
    ) -> WPlusResult:
        """Refine the codes of images ``(B, C, S, S)`` together, if asked for with curves of either direction."""
        directions = (1, -1) if find_curves and self.curve_knots and self.steps else (0,)
        found = [self.descend(image, network, starts, anchor, anchor_weight, direction) for direction in directions]
        return functools.reduce(better, found)

    @torch.enable_grad()
    def descend(
        self,
        image: Tensor,
        network: SemanticGAN,
        starts: Tensor | None,
        anchor: Tensor | None,
        anchor_weight: float,
        direction: int,
    ) -> WPlusResult:
        """Lower the objective of images ``(B, C, S, S)``, with curves of a direction, or with none for 0."""
        flat = image.new_zeros(len(image), self.curve_knots)
        curve = IntensityCurve.from_parameters(flat, direction) if direction else None
        with torch.no_grad(), self.autocast(image):
            features = self.loss.features(image, network)
            start = [self.first_codes(image, network, features, starts, curve)]
        if curve is not None:
            start.append(flat)
        noise = [noise.expand(len(image), -1, -1, -1) for noise in fixed_noise(network)] if self.optimise_noise else []
        rates = [{"lr": self.learning_rate, "eps": EPSILON}] * len(start)
        rates += [{"lr": self.noise_learning_rate, "eps": NOISE_EPSILON}] * len(noise)
        start += noise
        # codes move in coordinates in which images react alike to all steps
        first, start[0] = start[0], torch.zeros_like(start[0])
        # a leaf per image: Adam passes over leaves without gradient, so an image that left costs nothing
        leaves = [[row.clone().requires_grad_() for row in batch] for batch in start]
        groups = [{"params": batch, **rate} for batch, rate in zip(leaves, rates)]
        optimizer = torch.optim.Adam(groups, betas=self.betas)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.learning_rate_factor)
        active = torch.arange(len(image), device=image.device)
        lowest: list[Tensor] = []

        for step in range(self.steps + 1):
            last = step == self.steps
            with torch.set_grad_enabled(not last), self.autocast(image):
                moved = [torch.stack([batch[index] for index in active.tolist()]) for batch in leaves]
                # the last pass has no gradient: not worth a compilation of its own
                compute = self.objective if last else self.compiled_objective
                objective, losses, logits, wplus, reconstruction, curve = compute(
                    moved,
                    first[active],
                    network,
                    image,
                    features,
                    direction,
                    anchor,
                    anchor_weight,
                    self.regulariser_weight > 0 and step % self.regulariser_interval == 0,
                )

            found = [value.detach().float() for value in (logits, wplus, reconstruction, losses)]
            values = image.new_tensor([[-1.0, 1.0]]).expand(len(image), -1) if curve is None else curve.values.detach()
            found += [torch.full_like(active, step), values]
            if step == 0:
                best = WPlusResult._make(value.clone() for value in found)
            lower = found[3] < best.losses[active]
            for kept, value in zip(best, found):
                kept[active[lower]] = value[lower]
            best.steps[active] = step

            lowest.append(best.losses.clone())
            if step >= self.patience and self.tolerance > 0:
                before = lowest[step - self.patience][active]
                stays = before - best.losses[active] > self.tolerance * before
                active, objective, image = active[stays], objective[stays], image[stays]
                features = [level[stays] for level in features]
                anchor = None if anchor is None else anchor[stays]
            if last or len(active) == 0:
                break

            moving = [batch[index] for batch in leaves for index in active.tolist()]
            optimizer.zero_grad()
            for row, gradient in zip(moving, torch.autograd.grad(objective.sum(), moving)):
                row.grad = gradient
            optimizer.step()
            schedule.step()
        return best

    def objective(
        self,
        moved: list[Tensor],
        first: Tensor,
        network: SemanticGAN,
        image: Tensor,
        features: list[Tensor],
        direction: int,
        anchor: Tensor | None,
        anchor_weight: float,
        regularised: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, IntensityCurve | None]:
        """What is minimised, ``(B,)``, and what it is made of: losses, logits, codes, reconstruction and curve."""
        steps, *noise = moved
        wplus = first + (network.preconditioner.precondition(steps) if self.precondition else steps)
        curve = IntensityCurve.from_parameters(noise.pop(0), direction) if direction else None
        drawn, logits = network.decode(wplus, noise or None)
        reconstruction = drawn if curve is None else curve(drawn, image)
        # one pass of the encoder for the distance and the regulariser
        shared = regularised and curve is None and self.loss.distance.kind == "encoder"
        maps = network.encoder.features(drawn) if shared else None
        losses = self.loss(reconstruction, image, network, features, maps)
        objective = losses
        if regularised:
            weight = self.regulariser_weight * self.regulariser_interval
            objective = losses + weight * self.regulariser(wplus, drawn, network, maps)
        if anchor is not None:
            objective = objective + anchor_weight * (wplus - anchor).square().mean((1, 2))
        if curve is not None:
            objective = objective + self.curve_weight * curve.distance()
        return objective, losses, logits, wplus, reconstruction, curve

    def first_codes(
        self,
        image: Tensor,
        network: SemanticGAN,
        features: list[Tensor],
        starts: Tensor | None,
        curve: IntensityCurve | None,
    ) -> Tensor:
        """Choose where images start: at the encoder's codes, or at those of ``starts`` that redraw them best."""
        if starts is None:
            return network.encode(image if curve is None else curve.inverse(image)).float()
        losses = []
        for codes in starts.unbind(1):
            drawn = network.decode(codes)[0]
            losses.append(self.loss(drawn if curve is None else curve(drawn, image), image, network, features))
        return starts[torch.arange(len(image), device=starts.device), torch.stack(losses).argmin(0)].float()

    def learning_rate_factor(self, step: int) -> float:
        """Factor on the learning rate in step 0 to ``steps`` - 1, above 0 in each: linear rise, 1, cosine fall."""
        rise = (step + 1) / max(1.0, self.warmup * self.steps)
        fall = (self.steps - step) / max(1.0, self.rampdown * self.steps)
        return min(1.0, rise) * (0.5 - 0.5 * math.cos(math.pi * min(1.0, fall)))

    def autocast(self, image: Tensor) -> torch.autocast:
        """Autocast as the settings ask, whatever surrounds the call."""
        enabled = has_bf16(image.device) if self.amp == "auto" else bool(self.amp)
        return torch.autocast(image.device.type, torch.bfloat16, enabled=enabled)


def join(parts: Sequence[WPlusResult]) -> WPlusResult:
    """Put the results of parts of a batch together."""
    return WPlusResult(*(torch.cat(values) for values in zip(*parts)))


def better(first: WPlusResult, second: WPlusResult) -> WPlusResult:
    """Take each image from the result with the lower reconstruction loss."""
    lower = second.losses < first.losses
    return WPlusResult(*(torch.where(lower.view(-1, *[1] * (a.dim() - 1)), b, a) for a, b in zip(first, second)))


def unwrap(network: Callable[..., Tensor]) -> SemanticGAN:
    """Take the network out of a parallel wrapper and check its type."""
    if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        network = network.module
    if not isinstance(network, SemanticGAN):
        raise ValueError(
            f"network is a {type(network).__name__}, WPlusInferer needs a monai_semgan.networks.nets.SemanticGAN: "
            "give the network itself, not a function, its generator or a TorchScript export"
        )
    return network


def check_images(inputs: Tensor, network: SemanticGAN) -> None:
    """Refuse images that the network cannot take."""
    expected = [network.generator.image_channels, network.generator.size, network.generator.size]
    if inputs.dim() != 4 or list(inputs.shape[1:]) != expected or len(inputs) == 0:
        raise ValueError(
            f"inputs have shape {list(inputs.shape)}, this network expects (batch, {', '.join(map(str, expected))}): "
            "resize the images and convert their channels first"
        )
    if not inputs.is_floating_point():
        raise ValueError(f"inputs are {inputs.dtype}, expected floats in [-1, 1]: scale the intensities first")
    finite = inputs.as_subclass(Tensor).isfinite().flatten(1).all(1)
    if not finite.all():
        places = (~finite).nonzero().flatten().tolist()
        raise ValueError(
            f"inputs hold NaN or infinity in image {places} of the batch: repair or leave out these images"
        )


def fixed_noise(network: SemanticGAN) -> list[Tensor]:
    """The generator's fixed noise maps in the order that ``decode`` takes."""
    return [block.fixed_noise for block in network.generator.modules() if isinstance(block, StyleBlock)]


def with_metadata(values: Tensor, inputs: Tensor) -> Tensor:
    """Give the metadata and the transforms of ``MetaTensor`` inputs to a result."""
    return convert_to_dst_type(values, inputs, dtype=values.dtype)[0]
