# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.engines import SupervisedEvaluator
from monai.inferers import SimpleInferer
from monai.transforms import Compose, Invertd, Resized
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import squeezenet1_1

from monai_semgan.inferers import PRESETS, WPlusInferer, WPlusResult
from monai_semgan.inferers.wplus_inferer import shift
from monai_semgan.losses.perceptual import PerceptualDistance
from monai_semgan.losses.reconstruction import ReconstructionLoss
from monai_semgan.losses.wplus import WPlusRegulariser, label_distance
from monai_semgan.networks.label_map import logits_to_map
from monai_semgan.networks.nets import SemanticGAN
from tests.wplus_network import make_network


def make_inferer(**settings: Any) -> WPlusInferer:
    """An inferer in fp32, in small steps that hardly regularise."""
    return WPlusInferer(**{"amp": False, "learning_rate": 0.05, "regulariser_weight": 1e-3} | settings)


def refine(images: Tensor, network: SemanticGAN, **settings: Any) -> WPlusResult:
    result = make_inferer(**settings)(images, network, return_details=True)
    assert isinstance(result, WPlusResult)
    return result


@pytest.mark.parametrize("settings", [{}, {"chunk_size": 3}])
def test_no_steps_is_the_network(network: SemanticGAN, images: Tensor, settings: dict[str, Any]) -> None:
    logits = make_inferer(steps=0, **settings)(images, network)
    result = refine(images, network, steps=0, **settings)
    exact = {"rtol": 0.0, "atol": 1e-5 if settings else 0.0}
    torch.testing.assert_close(logits, network(images).detach(), **exact)
    torch.testing.assert_close(result.logits, network(images).detach(), **exact)
    torch.testing.assert_close(result.wplus, network.encode(images).detach(), **exact)


@pytest.mark.parametrize("perceptual", ["encoder", "none"])
@pytest.mark.parametrize("labels", [1, 3])
def test_refinement_lowers_the_loss_of_each_drawn_image(perceptual: str, labels: int) -> None:
    network = make_network(size=32, labels=labels)
    images, _ = network.generator.sample(3)
    settings = {"loss": ReconstructionLoss(perceptual, l2_weight=1.0)}
    start = refine(images, network, steps=0, **settings)
    result = refine(images, network, steps=60, **settings)
    assert (result.losses < 0.5 * start.losses).all()
    assert result.logits.shape == (3, labels, 32, 32)


def test_result_is_consistent(network: SemanticGAN, images: Tensor) -> None:
    result = refine(images, network, steps=8)
    reconstruction, logits = network.decode(result.wplus)
    torch.testing.assert_close(result.reconstruction, reconstruction.detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(result.logits, logits.detach(), rtol=0, atol=1e-5)
    losses = ReconstructionLoss()(reconstruction, images, network).detach()
    torch.testing.assert_close(result.losses, losses, rtol=1e-4, atol=1e-6)
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in result[:4])
    torch.testing.assert_close(make_inferer(steps=8)(images, network), result.logits)


def test_first_step_follows_adam_in_closed_form(network: SemanticGAN, images: Tensor) -> None:
    # Adam's first step is the learning rate times the gradient's sign, and the first step's rate is not 0
    wplus = network.encode(images).detach().requires_grad_()
    drawn, _ = network.decode(wplus)
    target = ReconstructionLoss()(drawn, images, network) + 0.5 * WPlusRegulariser()(wplus, drawn, network)
    (gradient,) = torch.autograd.grad(target.sum(), wplus)
    result = refine(images, network, steps=1, learning_rate=1e-4, regulariser_weight=0.5)
    expected = wplus - 1e-4 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(result.wplus, expected.detach(), rtol=0, atol=2e-6)


def test_preconditioned_steps_are_adams_in_rescaled_coordinates(images: Tensor) -> None:
    torch.manual_seed(0)
    network = make_network()
    size = network.preconditioner.basis.shape[1]
    network.preconditioner.fit((torch.randn(2 * size, size) * torch.logspace(0, -2, size)).unflatten(1, (-1, 8)))
    start = network.encode(images).detach()
    drawn = torch.zeros_like(start, requires_grad=True)
    image, _ = network.decode(start + network.preconditioner.precondition(drawn))
    (gradient,) = torch.autograd.grad(ReconstructionLoss()(image, images, network).sum(), drawn)
    result = refine(images, network, steps=1, learning_rate=1e-4, regulariser_weight=0.0)
    step = network.preconditioner.precondition(-1e-4 * gradient / (gradient.abs() + 1e-6))
    torch.testing.assert_close(result.wplus, start + step, rtol=0, atol=2e-6)
    plain = refine(images, network, steps=1, learning_rate=1e-4, regulariser_weight=0.0, precondition=False)
    assert (plain.wplus - start).norm() > 1.2 * step.norm()


def test_images_start_at_the_codes_that_redraw_them_best(network: SemanticGAN, images: Tensor) -> None:
    starts = torch.stack([network.encode(images.roll(shift, 0)).detach() for shift in (1, 2, 3)], dim=1)
    losses = [ReconstructionLoss()(network.decode(codes)[0], images, network) for codes in starts.unbind(1)]
    best = torch.stack(losses, dim=1).argmin(1)
    assert len(best.unique()) > 1
    result = make_inferer(steps=0, chunk_size=3)(images, network, return_details=True, starts=starts)
    for code, codes, index in zip(result.wplus, starts, best, strict=True):
        assert torch.equal(code, codes[index])


@given(steps=st.integers(1, 300), warmup=st.floats(0, 1), rampdown=st.floats(0, 1))
def test_every_step_has_a_learning_rate(steps: int, warmup: float, rampdown: float) -> None:
    inferer = WPlusInferer(steps=steps)
    inferer.warmup, inferer.rampdown = warmup, rampdown
    factors = [inferer.learning_rate_factor(step) for step in range(steps)]
    assert all(0.0 < factor <= 1.0 for factor in factors)
    if warmup + rampdown <= 1:
        assert max(factors) > 0.5


def test_learning_rate_schedule_in_closed_form() -> None:
    inferer = WPlusInferer(steps=8)
    inferer.warmup, inferer.rampdown = 0.25, 0.5
    # cos(pi 3/4) = -0.7071
    expected = [0.5, 1.0, 1.0, 1.0, 1.0, 0.853553, 0.5, 0.146447]
    assert [inferer.learning_rate_factor(step) for step in range(8)] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("settings", [{}, {"regulariser_weight": 0.1}])
def test_neighbours_do_not_matter(network: SemanticGAN, images: Tensor, settings: dict[str, Any]) -> None:
    settings = {"steps": 10, **settings}
    together = refine(images, network, **settings)
    for index in range(4):
        alone = refine(images[index : index + 1], network, **settings)
        for mine, theirs in zip(alone[:4], together[:4]):
            torch.testing.assert_close(mine[0], theirs[index], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_chunks_give_the_same(network: SemanticGAN, images: Tensor, chunk_size: int) -> None:
    whole = refine(images, network, steps=10)
    for mine, theirs in zip(refine(images, network, steps=10, chunk_size=chunk_size)[:4], whole[:4]):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_chunks_bound_what_the_generator_sees(
    network: SemanticGAN, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = count_decoded(network, monkeypatch)
    make_inferer(steps=2, chunk_size=3)(images, network)
    assert sizes == [3, 3, 3, 1, 1, 1]


def count_decoded(network: SemanticGAN, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batch sizes that the generator is called with from now on."""
    sizes: list[int] = []
    decode = network.decode

    def counted(wplus: Tensor, noise: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        sizes.append(len(wplus))
        return decode(wplus, noise)

    monkeypatch.setattr(network, "decode", counted)
    return sizes


def test_best_codes_are_kept(network: SemanticGAN, images: Tensor) -> None:
    # a learning rate this high throws the codes away from any solution
    start = refine(images, network, steps=0)
    for rate in (1.0, 1e6, 1e30):
        result = refine(images, network, steps=5, learning_rate=rate)
        assert (result.losses <= start.losses).all()
        assert result.logits.isfinite().all()
    torch.testing.assert_close(result.wplus, start.wplus)


def test_regulariser_pulls_codes_to_the_encoder(network: SemanticGAN, images: Tensor) -> None:
    def distance(weight: float) -> Tensor:
        result = refine(images, network, steps=40, regulariser_weight=weight)
        return WPlusRegulariser()(result.wplus, result.reconstruction, network).mean()

    assert distance(1.0) < 0.5 * distance(0.0)


@pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad])
def test_gradient_mode_around_the_call(network: SemanticGAN, images: Tensor, context: Any) -> None:
    expected = make_inferer(steps=5)(images, network)
    with context():
        mode = torch.is_grad_enabled()
        found = make_inferer(steps=5)(images, network)
        assert torch.is_grad_enabled() == mode
    assert torch.equal(found, expected) and not found.requires_grad


def test_inference_mode(network: SemanticGAN, images: Tensor) -> None:
    with torch.inference_mode():
        with pytest.raises(RuntimeError, match=r"torch\.no_grad\(\)"):
            make_inferer(steps=1)(images, network)
        torch.testing.assert_close(make_inferer(steps=0)(images, network), network(images))
        assert refine(images, network, steps=0).losses.shape == (4,)


def test_network_is_left_as_it_was(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_network().train()
    network.encoder.stem.requires_grad_(False)
    state = copy.deepcopy(network.state_dict())
    trainable = [weight.requires_grad for weight in network.parameters()]
    make_inferer(steps=3)(images, network)
    assert all(weight.grad is None for weight in network.parameters())
    assert [weight.requires_grad for weight in network.parameters()] == trainable
    assert network.training
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in state.items())


def test_no_gradient_of_a_weight_is_computed(network: SemanticGAN, images: Tensor) -> None:
    with ConvolutionGradients() as recorded:
        make_inferer(steps=2)(images, network)
    # which of input, weight and bias got a gradient: only the images' path to the codes is followed
    assert len(recorded.masks) > 0
    assert all(mask == [True, False, False] for mask in recorded.masks)


class ConvolutionGradients(TorchDispatchMode):
    """Records the gradients that each convolution's backward pass computes."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[list[bool]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution_backward.default:
            self.masks.append(list(args[-1]))
        return func(*args, **(kwargs or {}))


def test_targets_features_are_computed_once(
    network: SemanticGAN, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    features = network.encoder.features

    def counted(image: Tensor) -> list[Tensor]:
        seen.append(torch.equal(image, images))
        return features(image)

    monkeypatch.setattr(network.encoder, "features", counted)
    make_inferer(steps=6, regulariser_weight=0.0)(images, network)
    # once to encode, once as the perceptual distance's target
    assert sum(seen) == 2 and len(seen) == 2 + 7


def test_same_call_same_result(network: SemanticGAN, images: Tensor) -> None:
    before = images.clone()
    first, state = refine(images, network, steps=6), torch.get_rng_state()
    torch.manual_seed(5)
    second = refine(images, network, steps=6)
    assert all(torch.equal(a, b) for a, b in zip(first[:4], second[:4]))
    torch.set_rng_state(state)
    assert torch.equal(images, before)


@pytest.mark.parametrize("perceptual", ["encoder", "none", "lpips"])
def test_rgb_images_are_not_changed(perceptual: str, tmp_path: Path) -> None:
    # MONAI's perceptual loss rescales RGB images in place
    network = make_network(size=32, channels=3)
    images, _ = network.generator.sample(2)
    before = images.clone()
    torch.save(squeezenet1_1(weights=None).state_dict(), tmp_path / "squeeze.pth")
    distance = PerceptualDistance(perceptual, net="squeeze", weights_path=tmp_path / "squeeze.pth")
    for inputs in (images, MetaTensor(images)):
        result = refine(inputs, network, steps=4, loss=ReconstructionLoss(distance), regulariser_weight=1.0)
        assert torch.equal(images, before) and result.reconstruction.shape == (2, 3, 32, 32)


def test_bf16_autocast_returns_fp32(network: SemanticGAN, images: Tensor) -> None:
    start, result = refine(images, network, steps=0), refine(images, network, steps=20, amp=True)
    assert all(value.dtype == torch.float32 for value in result[:4])
    assert (result.losses < start.losses).all()
    assert make_inferer(steps=0, amp=True)(images, network).dtype == torch.float32


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_steps_are_the_plain_ones(network: SemanticGAN, images: Tensor) -> None:
    settings: dict[str, Any] = {"steps": 3, "learning_rate": 0.1}
    # other tests compile too
    torch._dynamo.utils.counters.clear()
    plain, compiled = (
        make_inferer(**settings, compile=chosen)(images, network, return_details=True) for chosen in (False, True)
    )
    assert isinstance(plain, WPlusResult) and isinstance(compiled, WPlusResult)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    torch.testing.assert_close(compiled.losses, plain.losses, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(compiled.logits, plain.logits, rtol=1e-3, atol=1e-3)


def test_autocast_around_the_call_is_overridden(network: SemanticGAN, images: Tensor) -> None:
    expected = make_inferer(steps=2)(images, network)
    with torch.autocast("cpu", torch.bfloat16):
        found = make_inferer(steps=2)(images, network)
    assert torch.equal(found, expected)


def test_parallel_wrapper(network: SemanticGAN, images: Tensor) -> None:
    wrapped = nn.DataParallel(network)
    assert torch.equal(make_inferer(steps=2)(images, wrapped), make_inferer(steps=2)(images, network))


def test_inside_an_evaluator_transforms_are_inverted(network: SemanticGAN) -> None:
    resize = Resized(keys="image", spatial_size=(16, 16))
    affine = torch.diag(torch.tensor([0.5, 2.0, 1.0, 1.0]))
    items = [
        {"image": MetaTensor(torch.rand(1, side, 24) * 2 - 1, affine=affine, meta={"filename_or_obj": f"{side}.png"})}
        for side in (20, 40)
    ]
    loader = DataLoader(Dataset(items, transform=resize), batch_size=2)
    outputs: dict[str, list[Any]] = {}
    for name, inferer in (("wplus", make_inferer(steps=3)), ("simple", SimpleInferer())):
        evaluator = SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=loader,
            network=network,
            inferer=inferer,
            postprocessing=Compose([Invertd(keys="pred", transform=resize, orig_keys="image", nearest_interp=False)]),
        )
        evaluator.run()
        outputs[name] = evaluator.state.output
    for wplus, simple, side in zip(outputs["wplus"], outputs["simple"], (20, 40)):
        assert isinstance(wplus["pred"], MetaTensor)
        assert wplus["pred"].shape == (1, side, 24)
        torch.testing.assert_close(wplus["pred"].affine, affine.double(), check_dtype=False)
        torch.testing.assert_close(wplus["pred"].affine, simple["pred"].affine)
        assert wplus["pred"].meta["filename_or_obj"] == simple["pred"].meta["filename_or_obj"] == f"{side}.png"


def test_metadata_of_logits_and_reconstruction(network: SemanticGAN, images: Tensor) -> None:
    batch = MetaTensor(images, affine=torch.eye(4) * 2, meta={"name": "a"})
    result = refine(batch, network, steps=2)
    for value in (result.logits, result.reconstruction):
        assert isinstance(value, MetaTensor) and value.meta["name"] == "a" and torch.equal(value.affine, batch.affine)
    assert not isinstance(result.wplus, MetaTensor) and not isinstance(result.losses, MetaTensor)
    assert torch.equal(result.logits.as_tensor(), refine(images, network, steps=2).logits)
    assert len(decollate_batch({"pred": result.logits})) == 4


def test_lpips_without_its_weights_tells_where_they_go(network: SemanticGAN, images: Tensor, tmp_path: Any) -> None:
    distance = PerceptualDistance("lpips", weights_path=tmp_path / "vgg.pth")
    with pytest.raises(FileNotFoundError, match=r"vgg\.pth"):
        make_inferer(steps=1, loss=ReconstructionLoss(distance))(images, network)
    assert torch.equal(make_inferer(steps=0, loss=ReconstructionLoss(distance))(images, network), network(images))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("steps", -1),
        ("learning_rate", -0.1),
        ("learning_rate", float("nan")),
        ("regulariser_weight", -1.0),
        ("chunk_size", 0),
    ],
)
def test_settings_out_of_range(setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=str(value)):
        make_inferer(**{setting: value})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(1, 3, 16, 16), r"\[1, 3, 16, 16\].*\(batch, 1, 16, 16\)"),
        (torch.zeros(1, 1, 16, 32), r"\[1, 1, 16, 32\]"),
        (torch.zeros(1, 16, 16), r"\[1, 16, 16\]"),
        (torch.zeros(0, 1, 16, 16), r"\[0, 1, 16, 16\]"),
        (torch.zeros(1, 1, 16, 16, dtype=torch.uint8), "uint8"),
        (torch.tensor([0.0, float("nan"), float("inf")])[:, None, None, None].expand(3, 1, 16, 16), r"image \[1, 2\]"),
    ],
)
@pytest.mark.parametrize("steps", [0, 2])
def test_images_that_cannot_work(network: SemanticGAN, inputs: Tensor, message: str, steps: int) -> None:
    with pytest.raises(ValueError, match=message):
        make_inferer(steps=steps)(inputs, network)


def test_network_of_another_type(images: Tensor) -> None:
    with pytest.raises(ValueError, match="network is a Conv2d.*SemanticGAN"):
        WPlusInferer()(images, nn.Conv2d(1, 1, 1))


def test_unknown_arguments(network: SemanticGAN, images: Tensor) -> None:
    with pytest.raises(ValueError, match="condition"):
        WPlusInferer()(images, network, condition=1)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 6, 8), r"starts have shape \[4, 6, 8\], \(4, starts an image, 6, 8\) expected"),
        ((3, 2, 6, 8), r"starts have shape \[3, 2, 6, 8\]"),
        ((4, 0, 6, 8), r"starts have shape \[4, 0, 6, 8\]"),
        ((4, 2, 5, 8), r"starts have shape \[4, 2, 5, 8\]"),
    ],
)
def test_starts_that_are_no_codes_of_the_images(
    network: SemanticGAN, images: Tensor, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        WPlusInferer(steps=0)(images, network, starts=torch.zeros(shape))


def test_the_encoders_code_may_be_one_of_the_starts(network: SemanticGAN, images: Tensor) -> None:
    # half of the images get a code that draws them, the others one of another image
    drawn = network.encode(images).detach() + 0.3 * torch.randn(4, 6, 8)
    targets = network.decode(drawn)[0].detach()
    starts = torch.where(torch.tensor([True, False, True, False])[:, None, None], drawn, drawn.roll(1, 0))[:, None]
    result = make_inferer(steps=0)(targets, network, return_details=True, starts=starts, try_encoder=True)
    encoded = network.encode(targets).detach()
    distances = [ReconstructionLoss()(network.decode(codes)[0], targets, network) for codes in (starts[:, 0], encoded)]
    chosen = torch.stack(distances).argmin(0)
    assert chosen.tolist() == [0, 1, 0, 1]
    expected = torch.where(chosen.bool()[:, None, None], encoded, starts[:, 0])
    torch.testing.assert_close(result.wplus, expected, rtol=0, atol=1e-6)


def test_starts_count_without_a_step_and_without_details(network: SemanticGAN, images: Tensor) -> None:
    starts = network.encode(images.flip(0)).detach()[:, None]
    logits = make_inferer(steps=0)(images, network, starts=starts)
    torch.testing.assert_close(logits, network.decode(starts[:, 0])[1].detach(), rtol=0, atol=1e-5)


def settings_of(inferer: WPlusInferer) -> dict[str, Any]:
    """All settings that are numbers, texts or flags, those of the loss included."""
    found = {"class": type(inferer).__name__} | vars(inferer) | {f"loss {k}": v for k, v in vars(inferer.loss).items()}
    found |= {name: getattr(inferer, name) for name in ("betas", "warmup", "rampdown")}
    return {name: value for name, value in found.items() if isinstance(value, (int, float, str, tuple, type(None)))}


def test_the_default_is_the_preset_balanced() -> None:
    default = settings_of(WPlusInferer())
    assert default == settings_of(WPlusInferer.from_preset("balanced", regulariser_weight=1.0, amp="auto"))
    assert (default["steps"], default["learning_rate"], default["regulariser_weight"]) == (8, 0.1, 1.0)
    assert default != settings_of(WPlusInferer.from_preset("best"))


def test_presets_take_more_and_more_steps() -> None:
    steps = [WPlusInferer.from_preset(name).steps for name in ("fast", "balanced", "best")]
    assert list(PRESETS) == ["fast", "balanced", "best"] and 0 < steps[0] < steps[1] < steps[2]


def test_settings_of_ones_own_go_over_the_presets() -> None:
    loss = ReconstructionLoss(l2_weight=0.2)
    inferer = WPlusInferer.from_preset("best", steps=0, learning_rate=0.5, loss=loss)
    assert (inferer.steps, inferer.learning_rate, inferer.loss.l2_weight) == (0, 0.5, 0.2)
    assert WPlusInferer.from_preset("best", steps=-1).steps == PRESETS["best"]["steps"] == 16


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match="preset is 'better', it must be one of fast, balanced, best"):
        WPlusInferer.from_preset("better")


@pytest.mark.parametrize("known", [True, False])
def test_bf16_is_taken_where_the_processor_has_it(
    network: SemanticGAN, images: Tensor, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setattr("monai_semgan.networks.precision.has_bf16", lambda device: known)
    seen: list[bool] = []
    decode = network.decode
    monkeypatch.setattr(
        network, "decode", lambda *args: (seen.append(torch.is_autocast_enabled("cpu")), decode(*args))[1]
    )
    WPlusInferer(steps=1, amp="auto")(images, network)
    assert seen == [known, known]


def test_amp_that_cannot_work() -> None:
    with pytest.raises(ValueError, match="amp is 'sometimes', it must be one of"):
        WPlusInferer(amp="sometimes")


def with_student(network: SemanticGAN, labels: int = 1) -> SemanticGAN:
    """The network with a student that marks the middle of an image, whatever it shows."""

    class Student(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            logits = torch.full((len(image), labels, *image.shape[2:]), -3.0)
            logits[:, -1, 4:12, 4:12] = 3.0
            return logits + image.mean(1, keepdim=True)

    network = copy.deepcopy(network)
    network.student = Student()
    return network


def test_both_is_the_mean_of_generator_and_student(network: SemanticGAN, images: Tensor) -> None:
    student = with_student(network)
    gan = refine(images, student, steps=3, answer="gan")
    torch.testing.assert_close(gan.logits, refine(images, network, steps=3).logits, rtol=0, atol=0)
    assert gan.answers is None
    # without its hold the code is the same
    both = refine(images, student, steps=3, label_weight=0.0)
    assert both.answers is not None and student.student is not None
    torch.testing.assert_close(both.answers[:, 0], gan.logits)
    views = [(0, 0), *WPlusInferer.student_shifts]
    moved = [shift(student.student(shift(images, *view)), -view[0], -view[1]) for view in views]
    torch.testing.assert_close(both.answers[:, 1], torch.stack(moved).mean(0))
    torch.testing.assert_close(both.logits, both.answers.mean(1))
    torch.testing.assert_close(make_inferer(steps=3, label_weight=0.0)(images, student), both.logits)


def test_a_student_alone_answers_in_one_pass(network: SemanticGAN, images: Tensor) -> None:
    student = with_student(network)
    student.encoder = nn.Identity()
    inferer = make_inferer(answer="student", steps=0)
    assert student.student is not None
    torch.testing.assert_close(inferer(images, student), student.student(images))
    # with time for more, it sees five views
    found = make_inferer(answer="student")(images, student)
    torch.testing.assert_close(found, make_inferer().ask_student(images, student, len(images)))
    assert not torch.allclose(found, student.student(images))
    assert isinstance(inferer(images, student, return_details=True), Tensor)
    # without a student the generator answers
    alone = inferer(images, network, return_details=True)
    assert isinstance(alone, WPlusResult)
    torch.testing.assert_close(alone.logits, network(images).detach())
    with pytest.raises(ValueError, match="answer is 'all', it must be one of gan, student, both"):
        make_inferer(answer="all")


@pytest.mark.parametrize("labels", [1, 3])
def test_the_students_label_pins_the_code(labels: int) -> None:
    network = with_student(make_network(size=16, labels=labels), labels)
    images, _ = network.generator.sample(3)
    settings = {"steps": 40, "precondition": False, "learning_rate": 0.1}
    assert network.student is not None
    student = make_inferer().ask_student(images, network, 3)
    assert student is not None
    asked = logits_to_map(student).add(1).div(2)
    free = refine(images, network, **settings, label_weight=0.0)
    held = refine(images, network, **settings, label_weight=5.0)
    assert free.answers is not None and held.answers is not None
    before, after = (label_distance(found.answers[:, 0], asked) for found in (free, held))
    assert (after < before).all()
    # what is lowered is the sum of both
    drawn = ReconstructionLoss()(held.reconstruction, images, network).detach()
    torch.testing.assert_close(held.losses, drawn + 5.0 * after, rtol=1e-4, atol=1e-5)


def test_a_neighbour_does_not_change_what_a_student_holds(network: SemanticGAN, images: Tensor) -> None:
    student = with_student(network)
    together = refine(images, student, steps=4, chunk_size=2)
    alone = refine(images[1:2], student, steps=4)
    torch.testing.assert_close(together.logits[1:2], alone.logits, rtol=1e-4, atol=1e-4)
    assert together.answers is not None and together.answers.shape == (len(images), 2, *images.shape[1:])
