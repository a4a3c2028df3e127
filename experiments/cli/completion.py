"""What the shell offers for an architecture: the known names, and files."""

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem


def complete_architecture(
    context: click.Context,  # noqa: ARG001, click's signature
    parameter: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Names that begin with what is typed; files where there are none."""
    names = [name for name in known_architectures() if name.startswith(incomplete)]
    if not names:
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(name) for name in names]


def known_architectures() -> list[str]:
    """`list_architectures()`, from a file of names where the tables are as they were then.

    The tables need torch, which takes seconds to load: too long for a tabulator key.
    """
    tables = sorted((Path(__file__).parents[2] / "search_spaces" / "reference").glob("*.py"))
    stamp = " ".join(str(table.stat().st_mtime_ns) for table in tables)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "scaler-completion"
    try:
        kept, *names = cache.read_text(encoding="utf-8").splitlines()
        if kept == stamp and names:
            return names
    except (OSError, ValueError):
        pass  # not there yet, or not ours
    from search_spaces.reference import list_architectures

    names = list_architectures()
    try:
        from experiments.config.files import replace_file

        cache.parent.mkdir(parents=True, exist_ok=True)
        replace_file(cache, lambda file: file.write("\n".join([stamp, *names]).encode()))
    except OSError:
        pass  # slow next time too
    return names
