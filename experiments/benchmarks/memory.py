"""Our peak RAM against ExecuTorch's: random members of each space, lowered for a Cortex-M as int8.

    python -m experiments.benchmarks.memory --count 20

Each member is exported, quantised, lowered and planned by ExecuTorch, and its plan read: `live` is
the largest sum of int8 maps that live at one time by the plan's own lifetimes, which ours must
equal to the byte. `arena` is what the planner then reserves: CMSIS-NN's scratch for its kernels,
float32 maps of operators that the quantiser leaves out (batch norms that no convolution precedes,
`1 - T`) and the gaps of its placement come on top. It takes equal tensors in an order that differs
from export to export; `in_order` is the arena when they come as they are made, or the last first,
whichever needs less, and `scaler.arena` must foretell it to the byte.

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
from scaler.arena import Core, measure_arena
from scaler.cost import device_cost
from scaler.memory import ALIGNMENT
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
_CPUS: dict[Core, str] = {"cortex-m0+": "M0PLUS", "cortex-m4": "M4"}  # ExecuTorch's names


def check_installed() -> None:
    """Raise InputError, which says how to install it, where ExecuTorch is not there."""
    if any(find_spec(package) is None for package in _NEEDED):
        raise InputError(HOW_TO_INSTALL)


def lowered(network: nn.Module, shape: tuple[int, ...], core: Core) -> Any:
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
        target = CortexMTargetConfig(cpu=CortexM[_CPUS[core]])
        passes = CortexMPassManager(edge.exported_program(), target_config=target)
        edge._edge_programs["forward"] = passes.transform()
        planning = MemoryPlanningPass(alloc_graph_input=True, alloc_graph_output=True)
        return edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning))


def planned(program: Any) -> dict[str, Any]:
    """What the plan says: bytes of int8 maps that live at once, with scratch, of the arena."""
    from executorch.exir.memory_planning import get_node_tensor_specs, greedy

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
    made = sorted(specs.values(), key=lambda spec: spec.lifetime[0])
    orders = [greedy(ALIGNMENT, order, nn.Module(), None) for order in (made, made[::-1])]
    return {
        "live": _peak(maps),
        "live_with_scratch": _peak([*maps, *scratch]),
        "arena": sum(plan.non_const_buffer_sizes),
        "in_order": min(sum(order.bufsizes) for order in orders),
        "floats": max(0, len(between) - 2),  # the image and the scores are float32
    }


def _peak(specs: list[Any]) -> int:
    end = max(spec.lifetime[1] for spec in specs)
    return max(
        sum(s.allocated_memory for s in specs if s.lifetime[0] <= step <= s.lifetime[1])
        for step in range(end + 1)
    )


def measured(member: Architecture, core: Core) -> dict[str, Any]:
    """The plan of a member; the error where ExecuTorch does not lower it."""
    network = build_network(member, num_classes=CLASSES)
    try:
        return planned(lowered(network, (3, member.resolution, member.resolution), core))
    except Exception as error:  # whatever its passes raise; the table counts them
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}


def ours(member: Architecture, core: Core) -> dict[str, Any]:
    """Our peak RAM, and our arena where the network has one."""
    peak = device_cost(member, num_classes=CLASSES).peak_ram
    arena = measure_arena(member, core, "float32", num_classes=CLASSES)
    return {"ours": peak, "ours_in_order": arena and arena.in_order, "most": arena and arena.most}


def members(
    spaces: list[str], count: int, core: Core, done: Path, *, new: bool
) -> Iterator[dict[str, Any]]:
    """Every member with what is known of it; if `new`, others are measured and added to `done`."""
    lines = done.read_text(encoding="utf-8").splitlines() if done.is_file() else []
    known = {(row["core"], row["member"]): row for row in map(json.loads, lines)}
    for space in spaces:
        for member in load_space(space).members(count, seed=1):
            row = known.get((core, member.name))
            if row is None and new:
                row = {"core": core, "space": space, "member": member.name}
                row |= measured(member, core)
                with done.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
            if row is not None:
                yield row | ours(member, core)


def rows_of(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a core and space. Arenas `over ours` are above the most that ours foretells."""
    rows = []
    for core, space in dict.fromkeys((row["core"], row["space"]) for row in found):
        own = [row for row in found if (row["core"], row["space"]) == (core, space)]
        planned = [row for row in own if "error" not in row]
        off = [row["ours"] - row["live"] for row in planned]
        foretold = [row for row in planned if row["most"] is not None]
        ordered = [row for row in foretold if "in_order" in row]
        wrong = [row["ours_in_order"] - row["in_order"] for row in ordered]
        over = [row["arena"] / row["ours"] for row in foretold]
        rows.append(
            {
                "core": core,
                "space": space,
                "members": len(own),
                "not lowered": len(own) - len(planned),
                "maps equal": off.count(0),
                "most bytes off": max(map(abs, off), default=0),
                "arenas in order": len(ordered),
                "equal": wrong.count(0),
                "arena most bytes off": max(map(abs, wrong), default=0),
                "arenas as they come": len(foretold),
                "over ours": sum(row["arena"] > row["most"] for row in foretold),
                "arena / maps, median": round(statistics.median(over), 3) if over else None,
                "arena / maps, most": round(max(over), 3) if over else None,
            }
        )
    return rows


def main() -> None:
    logging.disable(logging.WARNING)  # ExecuTorch's advice to its developers, a page a network
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--spaces", nargs="+", choices=list_spaces(), default=SPACES)
    parser.add_argument("--count", type=int, default=20, help="members of each space")
    parser.add_argument("--core", choices=_CPUS, default="cortex-m4", help="a Cortex-M")
    parser.add_argument("--known", action="store_true", help="only what is measured already")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    if not args.known:
        try:
            check_installed()
        except InputError as error:
            parser.exit(2, f"{error}\n")
        mobile = load_architecture("mobilenet_v2")
        known = measured(mobile, args.core) | ours(mobile, args.core)
        print(f"mobilenet_v2 at 224 px: {known}")
    done = args.out / "memory.jsonl"
    found = list(members(args.spaces, args.count, args.core, done, new=not args.known))
    others = [core for core in _CPUS if core != args.core]
    for core in others:
        found += members(args.spaces, args.count, core, done, new=False)
    note = (
        f"Bytes of RAM of random networks as int8 with {CLASSES} classes, ours against those of "
        "ExecuTorch's plan: the maps that live at once; the arena when equal tensors are placed "
        "in order; and as the planner's order of equal tensors comes, which is by chance. `over "
        "ours` are arenas above the most of 20 random orders."
    )
    keep("memory", rows_of(found), folder=args.out, note=note)


if __name__ == "__main__":
    main()
