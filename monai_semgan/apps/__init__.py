# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Programs built from the package's parts."""
