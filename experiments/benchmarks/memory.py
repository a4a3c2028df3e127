"""Our peak RAM against ExecuTorch's: random members of each space, lowered for a Cortex-M as int8.

    python -m experiments.benchmarks.memory --count 20

Each member is exported, quantised, lowered and planned by ExecuTorch, and its plan read: `live` is
the largest sum of int8 maps that live at one time by the plan's own lifetimes, which ours must
equal to the byte. `arena` is what the planner then reserves: CMSIS-NN's scratch for its kernels
(Cortex-M0+'s) and the gaps that its greedy placement leaves come on top. It is compared for members
that run wholly in int8: ExecuTorch's quantiser leaves out batch norms that no convolution precedes
and `1 - T`, which then need float32 maps.

Needs ExecuTorch, in an environment of its own; `HOW_TO_INSTALL` says how. Members that were
measured stay in `memory.jsonl`, so a run that is cut off goes on.
"""

import argparse
import json
import logging
import statistics
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experiments.benchmarks import keep
from scaler.cost import device_cost
from search_spaces import build_network, list_spaces, load_architecture, load_space
from search_spaces.architecture import Architecture
from search_spaces.records import InputError

RESULTS = Path(__file__).parent / "results"
CLASSES = 10
SPACES = ["mbconv_small", "residual", "inception", "vgg", "dense", "highway", "mixed"]
SPACES += ["mbconv_dense", "mbconv"]
HOW_TO_INSTALL = (
    "ExecuTorch is not installed; make a copy of this environment, and in it `pip install "
    "--no-deps executorch==1.5.1 torchao==0.18 tosa-tools==2026.5.0 ruamel.yaml parameterized "
    "expecttest ml_dtypes`"
)
_NEEDED = ("executorch", "torchao")


def check_installed() -> None:
    """Raise InputError, which says how to install it, where ExecuTorch is not there."""
    if any(find_spec(package) is None for package in _NEEDED):
        raise InputError(HOW_TO_INSTALL)


def lowered(network: nn.Module, shape: tuple[int, ...]) -> Any:
    """ExecuTorch's program of `network` for one image of `shape` (C, H, W), as int8 with memory."""
    from executorch.backends.cortex_m.edge_compile_config import cortex_m_edge_compile_config
    from executorch.backends.cortex_m.passes.cortex_m_pass_manager import CortexMPassManager
    from executorch.backends.cortex_m.quantizer.quantizer import CortexMQuantizer
    from executorch.backends.cortex_m.target_config import CortexM, CortexMTargetConfig
    from executorch.exir import ExecutorchBackendConfig, to_edge
    from executorch.exir.passes import MemoryPlanningPass
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    last = torch.channels_last
    network = network.eval().to(memory_format=last)
    image = torch.randn(1, *shape).to(memory_format=last)
    with torch.no_grad():
        exported = torch.export.export(network, (image,), strict=True)
        prepared = prepare_pt2e(exported.module(check_guards=False), CortexMQuantizer())
        prepared(image)
        quantised = torch.export.export(convert_pt2e(prepared), (image,), strict=True)
        edge = to_edge(quantised, compile_config=cortex_m_edge_compile_config())
        passes = CortexMPassManager(
            edge.exported_program(), target_config=CortexMTargetConfig(cpu=CortexM.M0PLUS)
        )
        edge._edge_programs["forward"] = passes.transform()
        planning = MemoryPlanningPass(alloc_graph_input=True, alloc_graph_output=True)
        return edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning))


def planned(program: Any) -> dict[str, Any]:
    """What the plan says: bytes of int8 maps that live at once, with scratch, of the arena."""
    from executorch.exir.memory_planning import get_node_tensor_specs

    nodes = program.exported_program().graph_module.graph.nodes
    specs = {
        id(spec): spec
        for node in nodes
        for spec in get_node_tensor_specs(node)
        if spec is not None and not spec.const and spec.mem_id is not None
    }
    maps = [spec for spec in specs.values() if spec.dtype == torch.int8]
    scratch = [spec for spec in specs.values() if spec.dtype == torch.uint8]
    between = [s for s in specs.values() if s.dtype == torch.float32 and s.allocated_memory]
    (plan,) = program._emitter_output.program.execution_plan
    return {
        "live": _peak(maps),
        "live_with_scratch": _peak([*maps, *scratch]),
        "arena": sum(plan.non_const_buffer_sizes),
        "floats": max(0, len(between) - 2),  # the image and the scores are float32
    }


def _peak(specs: list[Any]) -> int:
    end = max(spec.lifetime[1] for spec in specs)
    return max(
        sum(s.allocated_memory for s in specs if s.lifetime[0] <= step <= s.lifetime[1])
        for step in range(end + 1)
    )


def measured(member: Architecture) -> dict[str, Any]:
    """The plan of a member beside our figure; the error where ExecuTorch does not lower it."""
    ours = device_cost(member, num_classes=CLASSES).peak_ram
    network = build_network(member, num_classes=CLASSES)
    try:
        plan = planned(lowered(network, (3, member.resolution, member.resolution)))
    except Exception as error:  # whatever its passes raise; the table counts them
        return {"ours": ours, "error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    return {"ours": ours, **plan}


def members(spaces: list[str], count: int, done: Path) -> Iterator[dict[str, Any]]:
    """Every member with what is known of it; what is new is added to the file `done`."""
    lines = done.read_text(encoding="utf-8").splitlines() if done.is_file() else []
    known = {(row["space"], row["member"]): row for row in map(json.loads, lines)}
    for space in spaces:
        for member in load_space(space).members(count, seed=1):
            row = known.get((space, member.name))
            if row is None:
                row = {"space": space, "member": member.name, **measured(member)}
                with done.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
            yield row


def rows_of(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a space."""
    rows = []
    for space in dict.fromkeys(row["space"] for row in found):
        own = [row for row in found if row["space"] == space]
        planned = [row for row in own if "error" not in row]
        whole = [row for row in planned if not row["floats"]]
        off = [row["ours"] - row["live"] for row in planned]
        scratch = [row["live_with_scratch"] - row["live"] for row in planned]
        over = [row["arena"] / row["ours"] for row in whole]
        rows.append(
            {
                "space": space,
                "members": len(own),
                "not lowered": len(own) - len(planned),
                "equal to the byte": off.count(0),
                "most bytes off": max(map(abs, off), default=0),
                "most scratch": max(scratch, default=0),
                "all int8": len(whole),
                "their arena / ours, median": round(statistics.median(over), 3) if over else None,
                "their arena / ours, most": round(max(over), 3) if over else None,
            }
        )
    return rows


def main() -> None:
    logging.disable(logging.WARNING)  # ExecuTorch's advice to its developers, a page a network
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--spaces", nargs="+", choices=list_spaces(), default=SPACES)
    parser.add_argument("--count", type=int, default=20, help="members of each space")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    try:
        check_installed()
    except InputError as error:
        parser.exit(2, f"{error}\n")
    known = measured(load_architecture("mobilenet_v2"))
    print(f"mobilenet_v2 at 224 px: ours {known['ours']:,}, ExecuTorch's arena {known['arena']:,}")
    found = list(members(args.spaces, args.count, args.out / "memory.jsonl"))
    note = (
        f"Bytes of RAM of random networks as int8 with {CLASSES} classes: ours against the maps "
        f"that live at once in ExecuTorch's plan (Cortex-M0+), and the arena that it reserves."
    )
    keep("memory", rows_of(found), folder=args.out, note=note)


if __name__ == "__main__":
    main()
