"""The `voicespan` command.

Each subcommand says how it is called here and does its work elsewhere, in a module that is loaded only
when it is needed.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from voicespan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

#: As a shell reports a process that Ctrl-C or a closed pipe has ended.
_INTERRUPTED, _UNREAD = 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; `arguments` are those of the process by default. Returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read it has seen enough (`voicespan demo | head`). The interpreter flushes once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _UNREAD
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voicespan", description="Traces of speech-to-speech conversations, with their recordings."
    )
    parser.add_argument("--version", action="version", version=f"voicespan {__version__}")

    def say_how(_options: argparse.Namespace) -> int:
        sys.stdout.write(parser.format_help())
        return 0

    parser.set_defaults(run=say_how)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_demo(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser(
        "demo",
        help="a spoken conversation, traced, without an account or a network",
        description="Hold a phone call of 20 seconds between two synthesised voices, and show its trace.",
    )
    demo.add_argument("--provider", choices=["openai"], default="openai", help="whose client and protocol")
    demo.add_argument(
        "--live",
        action="store_true",
        help="with the real services: needs the provider's key (OPENAI_API_KEY) and LANGSMITH_API_KEY",
    )
    demo.add_argument("--fast", action="store_true", help="several times as fast as people speak")
    demo.add_argument("--folder", help="where the recording is saved; by default a new temporary folder")
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from voicespan.demo import command  # noqa: PLC0415  as the top of this module says

    return command.run(options)


if __name__ == "__main__":
    sys.exit(main())
