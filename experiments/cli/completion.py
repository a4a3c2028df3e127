"""What the shell offers for an architecture: the known names, and files."""

import click
from click.shell_completion import CompletionItem


def complete_architecture(
    context: click.Context,  # noqa: ARG001, click's signature
    parameter: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Names that begin with what is typed; files where there are none."""
    from search_spaces.reference import list_architectures

    names = [name for name in list_architectures() if name.startswith(incomplete)]
    if not names:
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(name) for name in names]
