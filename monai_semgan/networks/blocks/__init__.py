# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Blocks of the generator and of the image discriminator."""

from __future__ import annotations

from monai_semgan.networks.blocks.output_branch import OutputBranch
from monai_semgan.networks.blocks.residual_block import ResidualDownBlock
from monai_semgan.networks.blocks.style_block import StyleBlock

__all__ = ["OutputBranch", "ResidualDownBlock", "StyleBlock"]
