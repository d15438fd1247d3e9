"""Canonical values, digests and manifests: the identity format, described in FORMAT.md.

Everything here is pure: no input or output, no clock, no state but the table of registered types.
"""
