"""`tallystick completion`: what a shell needs in order to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what completes commands, options and pipelines in SHELL.

    \b
    bash  eval "$(tallystick completion bash)"                   in ~/.bashrc
    zsh   eval "$(tallystick completion zsh)"                    in ~/.zshrc
    fish  tallystick completion fish > ~/.config/fish/completions/tallystick.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    root = ctx.find_root()
    click.echo(found(root.command, {}, "tallystick", "_TALLYSTICK_COMPLETE").source())
