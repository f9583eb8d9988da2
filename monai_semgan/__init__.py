# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""SemanticGAN (Li et al., CVPR 2021, arXiv:2104.05833) for MONAI.

A generative model of images and their label maps. It learns from many images and few labels, and segments a new
image by finding the latent code that regenerates it. The tree mirrors MONAI's own.
"""

from __future__ import annotations

__version__ = "0.1.0"
