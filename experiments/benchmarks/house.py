"""How large the house is: `python -m experiments.benchmarks.house [COMMIT]`.

Prints the working tree, and beside it a commit where one is named: lines and files of each room,
the largest folder, functions longer than 60 lines, and public names without a docstring. Counted
are the Python files of `search_spaces`, `scaler` and `experiments`, without tests and benchmarks.
`python -m experiments.benchmarks.house --tree` writes the annotated tree of docs/house.md anew.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from experiments.config.files import write_text

PACKAGES = ("search_spaces", "scaler", "experiments")
# The rule of CONTRIBUTING.md: a longer function does not fit on one screen.
LONGEST_FUNCTION = 60
TREE_BEGINS = "## The tree\n\n```\n"


def working_tree(root: Path) -> dict[str, str]:
    """The text of each Python file of the three packages, by path, as it stands on the disk."""
    return {
        str(path.relative_to(root)): path.read_text()
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
    }


def committed_tree(root: Path, commit: str) -> dict[str, str]:
    """The same as `working_tree`, as it stood at one commit; raises SystemExit for no commit."""
    names = _git(root, "ls-tree", "-r", "--name-only", commit, "--", *PACKAGES).splitlines()
    return {name: _git(root, "show", f"{commit}:{name}") for name in names if name.endswith(".py")}


def is_product(path: str) -> bool:
    """Whether a path is part of the product: neither a test nor a benchmark."""
    return not {"benchmarks", "tests"} & set(path.split("/"))


def room(path: str) -> str:
    """The room that a path stands in: `scaler`, or `experiments/store`."""
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == "experiments" and len(parts) > 2 else parts[0]


def measure(files: Mapping[str, str]) -> dict[str, int | str]:
    """All figures of one tree, a name each, in the order in which they are printed."""
    product = {path: text for path, text in files.items() if is_product(path)}
    lines: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for path, text in product.items():
        lines[room(path)] += text.count("\n")
        count[room(path)] += 1
    folders = Counter(path.rpartition("/")[0] for path in files)
    largest, entries = folders.most_common(1)[0]
    return {
        **{f"{name}: files, lines": f"{count[name]}, {lines[name]}" for name in sorted(lines)},
        "product: files": len(product),
        "product: lines": sum(lines.values()),
        "experiments: files, benchmarks too": sum(p.startswith("experiments/") for p in files),
        "largest folder": f"{largest} ({entries} Python files)",
        f"functions over {LONGEST_FUNCTION} lines": len(long_functions(product)),
        "public names": len(public_names(product)),
        "public names without docstring": len(undocumented(product)),
    }


def long_functions(files: Mapping[str, str]) -> list[str]:
    """Functions longer than the rule, as `path:line name (lines)`."""
    return [
        f"{path}:{node.lineno} {node.name} ({length})"
        for path, node in _definitions(files)
        if not isinstance(node, ast.ClassDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    ]


def public_names(files: Mapping[str, str]) -> list[str]:
    """Functions, methods and classes whose name has no underscore in front, as `path:line name`."""
    return [
        f"{path}:{node.lineno} {node.name}"
        for path, node in _definitions(files)
        if not node.name.startswith("_")
    ]


def undocumented(files: Mapping[str, str]) -> list[str]:
    """The public names that have no docstring, as `path:line name`."""
    return [
        f"{path}:{node.lineno} {node.name}"
        for path, node in _definitions(files)
        if not node.name.startswith("_") and not ast.get_docstring(node)
    ]


def tree(files: Mapping[str, str]) -> str:
    """Every file with the first sentence of its docstring, indented below its folder."""
    lines: list[str] = []
    shown: set[str] = set()
    for path in sorted(files, key=_folders_last):
        folder, _, name = path.rpartition("/")
        depth = folder.count("/")
        if folder not in shown:
            shown.add(folder)
            front = _first_sentence(files.get(f"{folder}/__init__.py", ""))
            lines.append(f"{'  ' * depth + folder.rpartition('/')[2] + '/':<26} {front}".rstrip())
        if not name.startswith("__"):
            lines.append(f"{'  ' * (depth + 1) + name:<26} {_first_sentence(files[path])}".rstrip())
    return "\n".join(lines)


def write_tree(page: Path, files: Mapping[str, str]) -> str:
    """The text of docs/house.md with the tree as it is now."""
    before, _, rest = page.read_text().partition(TREE_BEGINS)
    return f"{before}{TREE_BEGINS}{tree(files)}\n```{rest.partition('```')[2]}"


def _folders_last(path: str) -> list[tuple[bool, str]]:
    """Sorts the packages as they import each other, and files before the folders beside them."""
    package, *parts = path.split("/")
    return [
        (False, str(PACKAGES.index(package))),
        *((i < len(parts) - 1, part) for i, part in enumerate(parts)),
    ]


def _first_sentence(text: str) -> str:
    told = ast.get_docstring(ast.parse(text)) or ""
    return re.split(r"\. (?=[A-Z])", " ".join(told.split("\n\n")[0].split()))[0].removesuffix(".")


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(files: Mapping[str, str]) -> list[tuple[str, Definition]]:
    """Definitions of modules and classes; those inside a function are nobody's public names."""
    found: list[tuple[str, Definition]] = []

    def visit(path: str, body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, Definition):
                found.append((path, node))
            if isinstance(node, ast.ClassDef):
                visit(path, node.body)

    for path, text in files.items():
        visit(path, ast.parse(text).body)
    return found


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    return done.stdout


def main(arguments: list[str]) -> None:
    """Print the table; below it, of the working tree, each long function and undocumented name."""
    root = Path(__file__).resolve().parents[2]
    here = working_tree(root)
    if arguments == ["--tree"]:
        page = root / "docs" / "house.md"
        write_text(page, write_tree(page, here))
        return
    columns = {"working tree": measure(here)}
    if arguments:
        columns = {arguments[0]: measure(committed_tree(root, arguments[0])), **columns}
    print(pd.DataFrame(columns).fillna("").to_markdown())
    product = {path: text for path, text in here.items() if is_product(path)}
    for title, names in {
        f"longer than {LONGEST_FUNCTION} lines": long_functions(product),
        "without docstring": undocumented(product),
    }.items():
        print(f"\n{title}:", *(names or ["none"]), sep="\n  ")


if __name__ == "__main__":
    main(sys.argv[1:])
