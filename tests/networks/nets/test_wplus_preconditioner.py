# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_semgan.networks.nets import WPlusPreconditioner


def fitted(components: int = 3, rows: int = 4000) -> tuple[WPlusPreconditioner, torch.Tensor]:
    """Fit to gradients of a known second moment: eigenvalues 16, 4, 1 and 0.01 along random orthogonal directions."""
    torch.manual_seed(0)
    directions = torch.linalg.qr(torch.randn(8, 8))[0].T
    deviations = torch.tensor([4.0, 2.0, 1.0, *[0.1] * 5])
    preconditioner = WPlusPreconditioner(2, 4, components)
    preconditioner.fit((torch.randn(rows, 8) * deviations @ directions).unflatten(1, (2, 4)))
    return preconditioner, directions


def test_is_the_identity_before_it_is_fitted() -> None:
    steps = torch.randn(3, 2, 4)
    assert torch.equal(WPlusPreconditioner(2, 4).precondition(steps), steps)


def test_scales_by_the_inverse_roots_of_the_eigenvalues() -> None:
    preconditioner, directions = fitted()
    scaled = preconditioner.precondition(directions.unflatten(1, (2, 4))).flatten(1)
    expected = directions * torch.tensor([1 / 4, 1 / 2, *[1.0] * 6])[:, None]
    # a few percent from the sample and from bf16
    torch.testing.assert_close(scaled, expected, atol=0.04, rtol=0)


def test_quadratic_bends_alike_along_the_preconditioned_directions() -> None:
    preconditioner, directions = fitted()
    hessian = directions.T @ torch.diag(torch.tensor([16.0, 4.0, 1.0, *[0.01] * 5])) @ directions
    root = preconditioner.precondition(torch.eye(8).unflatten(1, (2, 4))).flatten(1)
    before, after = (torch.linalg.eigvalsh(matrix) for matrix in (hessian, root @ hessian @ root))
    assert before[-1] / before[-3] == pytest.approx(16, rel=1e-3) and after[-1] / after[-3] < 1.3


def test_gradients_pass_and_autocast_does_not_matter() -> None:
    preconditioner, _ = fitted()
    steps = torch.randn(3, 2, 4, requires_grad=True)
    plain = preconditioner.precondition(steps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(preconditioner.precondition(steps), plain)
    weight = torch.randn(3, 2, 4)
    (gradient,) = torch.autograd.grad((plain * weight).sum(), steps)
    # the root is symmetric
    torch.testing.assert_close(gradient, preconditioner.precondition(weight))


def test_belongs_to_the_state() -> None:
    preconditioner, _ = fitted()
    other = WPlusPreconditioner(2, 4, 3)
    other.load_state_dict(preconditioner.state_dict())
    steps = torch.randn(1, 2, 4)
    assert torch.equal(other.precondition(steps), preconditioner.precondition(steps))


@pytest.mark.parametrize("shape", [(2, 2, 4), (5, 4, 4), (5, 8)])
def test_gradients_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"gradients have shape .* expected \(3 or more, N, D\) with N x D = 8"):
        WPlusPreconditioner(2, 4, 3).fit(torch.zeros(shape))
