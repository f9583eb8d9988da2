# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Segmentation by W+ optimisation at test time (Li et al., CVPR 2021, arXiv:2104.05833, equations (7) and (8))."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from torch import Tensor, nn

from monai_semgan.losses.reconstruction import ReconstructionLoss
from monai_semgan.losses.wplus import WPlusRegulariser, label_distance
from monai_semgan.networks.label_map import logits_to_map
from monai_semgan.networks.nets import SemanticGAN
from monai_semgan.networks.precision import bf16_autocast, read_amp

# the front of validation Dice against time, docs/speed.md; learning rates are those of a fitted preconditioner
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"steps": 3, "learning_rate": 0.2},
    "balanced": {"steps": 8, "learning_rate": 0.1},
    "best": {"steps": 16, "learning_rate": 0.06},
}
ANSWERS = ("gan", "student", "both")
# of Adam: no steps along gradients that are rounding errors, which differ with the batch
EPSILON = 1e-6


class WPlusResult(NamedTuple):
    """What :class:`WPlusInferer` finds, in fp32.

    Attributes:
        logits: label logits, ``(B, L, S, S)``.
        wplus: W+ codes, ``(B, N, D)``.
        reconstruction: images drawn from the codes, ``(B, C, S, S)``.
        losses: what refinement lowers of each image, without the regulariser, ``(B,)``.
        answers: label logits of the generator and of the student, ``(B, 2, L, S, S)``, where both were asked.
    """

    logits: Tensor
    wplus: Tensor
    reconstruction: Tensor
    losses: Tensor
    answers: Tensor | None = None


class WPlusInferer(Inferer):
    r"""Find the W+ codes that regenerate images and read their label maps off the generator.

    Codes start at the encoder's, :math:`w^+_0 = E(x^*)`, and Adam lowers
    :math:`\lambda_p d(x^*, G_x(w^+)) + \lambda_3 \|x^* - G_x(w^+)\|_2^2 + \lambda_2 \|w^+ - E(G_x(w^+))\|_2^2`
    of each image, in the coordinates of the network's :class:`monai_semgan.networks.nets.WPlusPreconditioner`. The
    result is :math:`G_y` of the codes with the lowest reconstruction loss on the way. A batch is refined together, yet
    each image on its own: neighbours do not change its result. The network, its gradients included, is left as it was;
    results carry no gradient.

    An image does not pin its label: many codes redraw it as well, with other masks. Where the network has a student, a
    segmentation network trained beside it, the code has to explain its probabilities s too: the loss gains
    :math:`\lambda_y \ell(G_y(w^+), s)`, soft Dice and cross entropy, and the answer is the mean of both's logits. The
    generator then draws the likeliest mask that fits image and student alike.

    The defaults are the preset ``"balanced"``.

    Args:
        steps: number of steps; 0 is the encoder alone, the same as calling the network.
        learning_rate: highest learning rate of Adam.
        loss: the reconstruction loss, the first two terms; by default :class:`ReconstructionLoss` as it is.
        regulariser_weight: :math:`\lambda_2`, weight of the W+ regulariser, 0 skips it.
        precondition: whether to move in the network's preconditioned coordinates; without, in W+ itself.
        chunk_size: refine at most so many images together, to bound memory; by default all.
        amp: bf16 autocast; overrides an autocast around the call. ``"auto"`` takes it where the processor computes
            bf16; what else is understood tells :func:`monai_semgan.networks.precision.read_amp`.
        answer: ``"both"``, the mean of the generator's and the student's logits; ``"gan"``, the generator alone, as in
            the paper; ``"student"``, the student alone, without codes. Without a student all are the generator's.
        label_weight: :math:`\lambda_y`, how strongly the student's label holds the code; 0 refines by the image alone.
        compile: compile a step by ``torch.compile``, which takes a C++ compiler and about a minute at the first step,
            and another at the first batch of another size.

    Attributes:
        betas: how long Adam's two averages remember; these suit a few steps.
        warmup: fraction of the steps in which the learning rate rises; the first step already counts.
        rampdown: fraction of the steps in which the learning rate falls along a cosine.
        gives_details: whether an inferer takes ``return_details``.
        student_shifts: pixels, down and to the right, of the views whose mean a student answers: the steps
            of its grid leave errors of their own at each place. With 0 steps it sees the image once.
        progressed: called as refinement goes on, with the images done since the last call, a share of them a step.

    Raises:
        ValueError: for settings out of their range.

    Example::

        logits = WPlusInferer()(images, network)
    """

    betas = (0.8, 0.99)
    warmup = 0.1
    rampdown = 0.5
    gives_details = True
    progressed: Callable[[float], Any] = staticmethod(lambda images: None)
    student_shifts = ((4, 0), (-4, 0), (0, 4), (0, -4))

    def __init__(
        self,
        *,
        steps: int = 8,
        learning_rate: float = 0.1,
        loss: ReconstructionLoss | None = None,
        regulariser_weight: float = 1.0,
        precondition: bool = True,
        chunk_size: int | None = None,
        amp: bool | str = "auto",
        answer: str = "both",
        label_weight: float = 1.0,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if answer not in ANSWERS:
            raise ValueError(f"answer is {answer!r}, it must be one of {', '.join(ANSWERS)}")
        for name, value, low in (
            ("steps", steps, 0),
            ("learning_rate", learning_rate, 0),
            ("regulariser_weight", regulariser_weight, 0),
            ("label_weight", label_weight, 0),
            ("chunk_size", 1 if chunk_size is None else chunk_size, 1),
        ):
            # not `value < low`, which lets NaN pass
            if not value >= low:
                raise ValueError(f"{name} is {value}, it must be at least {low}")
        self.steps = steps
        self.learning_rate = learning_rate
        self.loss = loss or ReconstructionLoss()
        self.regulariser = WPlusRegulariser()
        self.regulariser_weight = regulariser_weight
        self.precondition = precondition
        self.chunk_size = chunk_size
        self.amp = read_amp(amp)
        self.answer = answer
        self.label_weight = label_weight
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
        if preset not in PRESETS:
            raise ValueError(f"preset is {preset!r}, it must be one of {', '.join(PRESETS)}")
        chosen = PRESETS[preset] | settings
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
        try_encoder: bool = False,
        **kwargs: Any,
    ) -> Tensor | WPlusResult:
        """Segment a batch of images.

        Args:
            inputs: images in [-1, 1], ``(B, C, S, S)``.
            network: a :class:`monai_semgan.networks.nets.SemanticGAN`, in a parallel wrapper or not.
            args: none are taken.
            return_details: whether to return a :class:`WPlusResult`; a student alone has no codes and returns logits.
            starts: K codes for each image, ``(B, K, N, D)``; it starts at that with the lowest reconstruction loss in
                place of the encoder's.
            try_encoder: whether the encoder's code is one more of these starts.
            kwargs: none are taken.

        Returns:
            Label logits in fp32, ``(B, L, S, S)``, or a :class:`WPlusResult`. Logits and reconstruction of a
            ``MetaTensor`` carry its metadata and transforms, like the output of a network.

        Raises:
            ValueError: for a network of another type and for images or starts that it cannot take.
            RuntimeError: for ``steps`` above 0 inside ``torch.inference_mode()``.
        """
        if args or kwargs:
            raise ValueError(f"WPlusInferer takes inputs and network only, not {[*args, *kwargs]}")
        network = unwrap(network)
        check_images(inputs, network)
        if starts is not None:
            check_starts(starts, inputs, network)
        if self.steps > 0 and torch.is_inference_mode_enabled():
            raise RuntimeError(
                "WPlusInferer refines by gradients, which torch.inference_mode() forbids: call it inside "
                "torch.no_grad() instead, or with steps=0"
            )
        images = inputs.as_subclass(Tensor).detach().float()
        size = self.chunk_size or len(images)
        student = self.ask_student(images, network, size)
        if student is not None and self.answer == "student":
            return with_metadata(student, inputs)
        if student is None and self.steps == 0 and starts is None and not return_details:
            with torch.no_grad(), bf16_autocast(images.device, self.amp):
                return with_metadata(torch.cat([network(chunk).float() for chunk in images.split(size)]), inputs)
        parts = []
        # backward passes must not run under an autocast around the call
        with torch.autocast(images.device.type, enabled=False):
            for first in range(0, len(images), size):
                part = slice(first, first + size)
                codes = None if starts is None else starts[part]
                label = None if student is None else logits_to_map(student[part]).add(1).div(2)
                parts.append(self.refine(images[part], network, codes, try_encoder, label))
        result = join(parts)
        if student is not None:
            answers = torch.stack([result.logits, student], dim=1)
            result = result._replace(logits=answers.mean(1), answers=answers)
        logits = with_metadata(result.logits, inputs)
        if not return_details:
            return logits
        return result._replace(logits=logits, reconstruction=with_metadata(result.reconstruction, inputs))

    @torch.no_grad()
    def ask_student(self, images: Tensor, network: SemanticGAN, size: int) -> Tensor | None:
        """Label logits of the network's student in fp32, ``(B, L, S, S)``; None where it is not asked."""
        if network.student is None or self.answer == "gan":
            return None
        views = self.student_shifts if self.steps else ()
        with bf16_autocast(images.device, self.amp):
            logits = torch.cat([network.student(chunk).float() for chunk in images.split(size)])
            for rows, columns in views:
                moved = [network.student(chunk).float() for chunk in shift(images, rows, columns).split(size)]
                logits = logits + shift(torch.cat(moved), -rows, -columns)
        return logits / (1 + len(views))

    @torch.enable_grad()
    def refine(
        self,
        image: Tensor,
        network: SemanticGAN,
        starts: Tensor | None = None,
        try_encoder: bool = False,
        label: Tensor | None = None,
    ) -> WPlusResult:
        """Refine the codes of images ``(B, C, S, S)`` together.

        Args:
            image: the images.
            network: the network.
            starts: as in a call.
            try_encoder: as in a call.
            label: probabilities ``(B, L, S, S)`` that the label map has to explain, with ``label_weight``.

        Returns:
            What was found; its logits are the generator's.
        """
        with torch.no_grad(), bf16_autocast(image.device, self.amp):
            features = self.loss.features(image, network)
            first = self.first_codes(image, network, features, starts, try_encoder)
        groups = self.moves(first, network)
        moved = [tensor for group in groups for tensor in group["params"]]
        optimizer = torch.optim.Adam(groups, betas=self.betas)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.learning_rate_factor)
        best: WPlusResult | None = None
        for step in range(self.steps + 1):
            last = step == self.steps
            # the last pass has no gradient: not worth a compilation of its own
            compute = self.objective if last else self.compiled_objective
            with torch.set_grad_enabled(not last), bf16_autocast(image.device, self.amp):
                objective, found = compute(moved, first, network, image, features, label)
            found = WPlusResult(*(value.detach().float() for value in found[:4]))
            best = found if best is None else better(best, found)
            self.progressed(len(image) / (self.steps + 1))
            if not last:
                for tensor, gradient in zip(moved, torch.autograd.grad(objective.sum(), moved)):
                    tensor.grad = gradient
                optimizer.step()
                schedule.step()
        assert best is not None
        return best

    def moves(self, first: Tensor, network: SemanticGAN) -> list[dict[str, Any]]:
        """What Adam moves, as its parameter groups: how far codes are from the first, in preconditioned coordinates.

        Args:
            first: the codes that images start at, ``(B, N, D)``.
            network: the network.

        Returns:
            Groups of tensors; after those of the codes, noise maps ``(B, 1, H, W)`` may follow, a map a style block.
        """
        return [{"params": [torch.zeros_like(first, requires_grad=True)], "lr": self.learning_rate, "eps": EPSILON}]

    def objective(
        self,
        moved: list[Tensor],
        first: Tensor,
        network: SemanticGAN,
        image: Tensor,
        features: list[Tensor],
        label: Tensor | None = None,
    ) -> tuple[Tensor, WPlusResult]:
        """What is minimised, ``(B,)``, and what is found on the way."""
        steps, *noise = moved
        wplus = first + (network.preconditioner.precondition(steps) if self.precondition else steps)
        drawn, logits = network.decode(wplus, noise or None)
        regularised = self.regulariser_weight > 0
        # one pass of the encoder for the distance and the regulariser
        shared = regularised and self.loss.distance.kind == "encoder"
        maps = network.encoder.features(drawn) if shared else None
        losses = self.loss(drawn, image, network, features, maps)
        if label is not None and self.label_weight > 0:
            losses = losses + self.label_weight * label_distance(logits, label)
        objective = losses
        if regularised:
            objective = losses + self.regulariser_weight * self.regulariser(wplus, drawn, network, maps)
        return objective, WPlusResult(logits, wplus, drawn, losses)

    def first_codes(
        self, image: Tensor, network: SemanticGAN, features: list[Tensor], starts: Tensor | None, try_encoder: bool
    ) -> Tensor:
        """Choose where images start: at the encoder's codes, or at those of ``starts`` that redraw them best."""
        if starts is None:
            return network.encode(image).float()
        if try_encoder:
            starts = torch.cat([starts, network.encode(image).to(starts)[:, None]], dim=1)
        losses = [self.loss(network.decode(codes)[0], image, network, features) for codes in starts.unbind(1)]
        return starts[torch.arange(len(image), device=starts.device), torch.stack(losses).argmin(0)].float()

    def learning_rate_factor(self, step: int) -> float:
        """Factor on the learning rate in step 0 to ``steps`` - 1, above 0 in each: linear rise, 1, cosine fall."""
        rise = (step + 1) / max(1.0, self.warmup * self.steps)
        fall = (self.steps - step) / max(1.0, self.rampdown * self.steps)
        return min(1.0, rise) * (0.5 - 0.5 * math.cos(math.pi * min(1.0, fall)))


def join(parts: Sequence[WPlusResult]) -> WPlusResult:
    """Put the results of parts of a batch together."""
    joined: list[Any] = [None if values[0] is None else torch.cat(values) for values in zip(*parts)]
    return WPlusResult(*joined)


def better(first: WPlusResult, second: WPlusResult) -> WPlusResult:
    """Take each image from the result with the lower reconstruction loss."""
    lower = second.losses < first.losses
    return WPlusResult(
        *(torch.where(lower.view(-1, *[1] * (a.dim() - 1)), b, a) for a, b in zip(first[:4], second[:4]))
    )


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


def check_starts(starts: Tensor, inputs: Tensor, network: SemanticGAN) -> None:
    """Refuse starts that are no codes of the images."""
    codes = [network.generator.num_codes, network.generator.latent_dim]
    if starts.dim() != 4 or starts.shape[1] == 0 or [len(starts), *starts.shape[2:]] != [len(inputs), *codes]:
        raise ValueError(
            f"starts have shape {list(starts.shape)}, ({len(inputs)}, starts an image, {codes[0]}, {codes[1]}) expected"
        )


def shift(images: Tensor, rows: int, columns: int) -> Tensor:
    """Move images ``(B, C, H, W)`` down and to the right; their first and last rows and columns repeat."""
    height, width = images.shape[-2:]
    from_rows = (torch.arange(height, device=images.device) - rows).clamp(0, height - 1)
    from_columns = (torch.arange(width, device=images.device) - columns).clamp(0, width - 1)
    return images[..., from_rows[:, None], from_columns]


def with_metadata(values: Tensor, inputs: Tensor) -> Tensor:
    """Give the metadata and the transforms of ``MetaTensor`` inputs to a result."""
    return convert_to_dst_type(values, inputs, dtype=values.dtype)[0]
