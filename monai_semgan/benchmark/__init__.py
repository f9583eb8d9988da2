# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""How fast training, refinement and generator are, as shares of what the machine can do.

``semgan benchmark --output benchmark.json``
"""
