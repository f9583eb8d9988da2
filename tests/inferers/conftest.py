# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monai_semgan.networks.nets import SemanticGAN
from tests.wplus_network import make_network


@pytest.fixture(scope="module")
def network() -> SemanticGAN:
    torch.manual_seed(0)
    return make_network()


@pytest.fixture(scope="module")
def images(network: SemanticGAN) -> Tensor:
    return network.generator.sample(4, generator=torch.Generator().manual_seed(1))[0]
