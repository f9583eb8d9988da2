# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""MONAI Label's app for this project's bundles: ``semgan label STUDIES``."""
