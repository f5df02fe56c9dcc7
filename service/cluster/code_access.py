"""Lets a process of a sweep load the sweep's code, and no other. Imports no Ray."""

from __future__ import annotations

from dataclasses import replace

from service.cluster.compat import find_bundle_folders
from trainables.config.code_policy import CodePolicy


def enter_policy(policy: CodePolicy) -> None:
    """Make a sweep's policy this process's, with the folders where Ray has put its bundle here.

    Raises:
        ContractError: a file of the user's is not the one that the sweep started with.
    """
    if policy.folders is not None:
        bundle = find_bundle_folders()
        policy = replace(policy, folders=(*bundle, *(f for f in policy.folders if f not in bundle)))
    policy.enter()
    for module in policy.digests:
        policy.check_module(module)
