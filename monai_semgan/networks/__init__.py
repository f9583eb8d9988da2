# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Networks, blocks and layers."""
