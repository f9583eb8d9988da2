# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Blocks of the generator and of the image discriminator."""

from __future__ import annotations

from monai_semgan.networks.blocks.output_branch import OutputBranch as OutputBranch
from monai_semgan.networks.blocks.residual_block import ResidualDownBlock as ResidualDownBlock
from monai_semgan.networks.blocks.style_block import StyleBlock as StyleBlock
