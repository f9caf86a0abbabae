"""The `voicespan` command.

Each subcommand says how it is called here and does its work elsewhere, in a module that is loaded only
when it is needed.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
from typing import TYPE_CHECKING, Any

from voicespan.runtime.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

#: As argparse has it.
_MISUSED = 2
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
        prog="voicespan", description="Traces of spoken conversations, with their recordings."
    )
    parser.add_argument("--version", action="version", version=f"voicespan {__version__}")

    def say_how(_options: argparse.Namespace) -> int:
        sys.stdout.write(parser.format_help())
        return 0

    parser.set_defaults(run=say_how)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_demo(commands)
    _add_view(commands)
    _add_report(commands)
    _add_spool(commands)
    _add_recover(commands)
    _add_deliver(commands)
    _add_doctor(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser(
        "demo",
        help="a spoken conversation, traced, without an account or a network",
        description="Hold a phone call of 20 seconds between two synthesised voices, and show its trace.",
    )
    demo.add_argument(
        "--provider",
        choices=["openai", "openai-live", "gemini", "cascade"],
        default="openai",
        help="whose client and protocol; cascade: three models, called one after the other",
    )
    demo.add_argument("--model", metavar="NAME", help="by default a recent one of the provider's")
    demo.add_argument(
        "--live",
        action="store_true",
        help="with the real services: needs OPENAI_API_KEY or GEMINI_API_KEY, and LANGSMITH_API_KEY",
    )
    demo.add_argument("--fast", action="store_true", help="several times as fast as people speak")
    demo.add_argument("--folder", help="where the recording is saved; by default a new temporary folder")
    demo.add_argument("--json", action="store_true", help="print the trace and its figures, for scripts")
    demo.add_argument("--open", action="store_true", help="show the call in a browser when it is over")
    demo.add_argument(
        "--to",
        metavar="URL",
        help="send the trace to a backend of your own as well (OTLP over HTTP; OTEL_EXPORTER_OTLP_HEADERS counts)",
    )
    demo.set_defaults(run=_demo)


def _add_view(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    view = commands.add_parser(
        "view",
        help="look at the conversations of a folder in a browser",
        description="Serve the conversations that are kept in a folder to a browser on this machine, also while they run.",
    )
    view.add_argument("folder", nargs="?", help="by default VOICESPAN_FOLDER, or the user's own")
    view.add_argument("--host", default="127.0.0.1", help="elsewhere than on loopback the URL has a token")
    view.add_argument("--port", type=int, default=0, help="by default any that is free")
    view.add_argument(
        "--otlp",
        action="store_true",
        help="take the traces of any process that sends them to /v1/traces here (OTLP/HTTP)",
    )
    view.add_argument("--open", action="store_true", help="open a browser")
    view.set_defaults(run=_view)


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    report = commands.add_parser(
        "report",
        help="one conversation as one HTML file",
        description="Write a page for each conversation that needs nothing else: what was said, the trace, the recording.",
        epilog="Exit status: 0 written, 1 it cannot be read, 2 there is no such conversation.",
    )
    report.add_argument(
        "calls",
        nargs="+",
        metavar="CALL",
        help="a trace id, a thread, the name of a directory, `last`; or the path of one, or of a file of OTLP JSON lines",
    )
    report.add_argument(
        "-o", dest="output", metavar="FILE", help="by default CALL.html in the current folder"
    )
    report.add_argument("--folder", metavar="DIR", help="by default VOICESPAN_FOLDER, or the user's own")
    report.add_argument("--without-audio", action="store_true", help="leave the recording out")
    report.add_argument(
        "--redacted",
        action="store_true",
        help="leave out the recording, what was said, arguments and results",
    )
    report.set_defaults(run=_report)


def _add_spool(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    spool = commands.add_parser(
        "spool",
        help="what waits to be sent, and why",
        description="Show the conversations that wait on this machine. Sends nothing and changes nothing.",
    )
    spool.add_argument("--spool-dir", metavar="DIR", help="by default VOICESPAN_SPOOL_DIR, or the user's own")
    spool.set_defaults(run=_spool)


def _add_recover(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    recover = commands.add_parser(
        "recover",
        help="send what waits, that of processes that died included",
        description="Send what waits for one destination: the environment's (LANGSMITH_API_KEY, "
        "LANGSMITH_PROJECT, ... or VOICESPAN_ENDPOINT), unless an option says otherwise. The key is never "
        "an option: other users of the machine could read it.",
        epilog="Exit status: 0 nothing is left for the destination, 1 something is, 2 this was called wrongly, "
        "3 there were only conversations for other destinations.",
    )
    recover.add_argument("--project", metavar="NAME", help="by default LANGSMITH_PROJECT, or `default`")
    recover.add_argument(
        "--endpoint", metavar="URL", help="by default LANGSMITH_ENDPOINT, or LangSmith's US cloud"
    )
    recover.add_argument("--workspace", metavar="ID", help="by default LANGSMITH_WORKSPACE_ID")
    recover.add_argument(
        "--spool-dir", metavar="DIR", help="by default VOICESPAN_SPOOL_DIR, or the user's own"
    )
    recover.add_argument(
        "--new-key", action="store_true", help="send also what waits for the same destination by an older key"
    )
    recover.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_positive,
        default=math.inf,
        help="for all of it; by default none",
    )
    recover.add_argument(
        "--drop-older-than",
        metavar="DAYS",
        type=_positive,
        help="remove what could not be sent, for whatever destination, and is older; asks first",
    )
    recover.add_argument("--yes", action="store_true", help="do not ask")
    recover.set_defaults(run=_recover)


def _add_deliver(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    deliver = commands.add_parser(
        "deliver",
        help="send what applications with VOICESPAN_DELIVERY=spool leave in the spool",
        description="Encode and send what waits in the spool, for all processes and destinations, as soon as a "
        "conversation ends or its process dies. Keys come from the environment (LANGSMITH_API_KEY) or from the file "
        "that VOICESPAN_KEYS_FILE names, and are never options: other users of the machine could read them.",
        epilog="Exit status: 0 nothing is left (with --watch: it was asked to end), 1 something is, 2 this was called "
        "wrongly.",
    )
    deliver.add_argument(
        "--spool-dir", metavar="DIR", help="by default VOICESPAN_SPOOL_DIR, or the user's own"
    )
    until = deliver.add_mutually_exclusive_group()
    until.add_argument("--watch", action="store_true", help="go on until it is asked to end (the default)")
    until.add_argument("--once", action="store_true", help="send what waits, and end")
    deliver.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_positive,
        default=math.inf,
        help="with --once: for all of it; by default it goes on for two minutes after the last one that was taken",
    )
    deliver.add_argument(
        "--grace",
        metavar="SECONDS",
        type=_positive,
        default=30.0,
        help="how long it may finish what it holds when it is asked to end (30)",
    )
    deliver.add_argument(
        "--http",
        metavar="HOST:PORT",
        help="answer /ready and /metrics (Prometheus) there; by default nowhere",
    )
    deliver.set_defaults(run=_deliver)


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="why no traces arrive",
        description="Look at everything between a conversation and LangSmith, in the environment that this is "
        "called in, and say what is wrong and what to do. Changes nothing (but with --send), and shows no secret.",
        epilog="Exit status: 0 nothing is wrong, 1 there is a problem, 2 this was called wrongly.",
    )
    doctor.add_argument(
        "--spool-dir", metavar="DIR", help="by default VOICESPAN_SPOOL_DIR, or the user's own"
    )
    doctor.add_argument("--offline", action="store_true", help="ask nothing over the network")
    doctor.add_argument("--json", action="store_true", help="for scripts")
    doctor.add_argument(
        "--problems", action="store_true", help="show problems only (with --strict: warnings as well)"
    )
    doctor.add_argument(
        "--send",
        action="store_true",
        help="send one test conversation with a recording, tagged voicespan-doctor, and say what became of it",
    )
    doctor.add_argument("--strict", action="store_true", help="a warning is a problem, too")
    doctor.set_defaults(run=_doctor)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no number") from None
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return number


def _load(module: str) -> Any:
    """One of the modules below, when its command is called."""
    return importlib.import_module(_MODULES[module])


#: They import what takes long, so none is loaded to print a help text.
_MODULES = {
    "demo": "voicespan.cli.demo.command",
    "doctor": "voicespan.cli.doctor.command",
    "recover": "voicespan.cli.recover",
    "deliver": "voicespan.cli.deliver",
    "spool": "voicespan.cli.spool",
    "view": "voicespan.cli.view",
    "delivery": "voicespan.delivery",
}


def _demo(options: argparse.Namespace) -> int:
    return int(_load("demo").run(options))


def _doctor(options: argparse.Namespace) -> int:
    return int(_load("doctor").run(options))


def _view(options: argparse.Namespace) -> int:
    return int(_load("view").view(options))


def _report(options: argparse.Namespace) -> int:
    return int(_load("view").report(options))


def _spool(options: argparse.Namespace) -> int:
    return int(_load("spool").spool(spool_dir=options.spool_dir))


def _deliver(options: argparse.Namespace) -> int:
    try:
        return int(_load("deliver").run(options))
    except _load("delivery").DeliverySettingsError as error:
        sys.stderr.write(f"voicespan deliver: {error}\n")
        return _MISUSED


def _recover(options: argparse.Namespace) -> int:
    recover = _load("recover")
    try:
        status: int = recover.recover(
            endpoint=options.endpoint,
            project=options.project,
            workspace=options.workspace,
            spool_dir=options.spool_dir,
            new_key=options.new_key,
            timeout=options.timeout,
            drop_older_than=options.drop_older_than,
            confirm=(lambda _question: True) if options.yes else recover.confirmed,
        )
    except _load("delivery").DeliverySettingsError as error:
        sys.stderr.write(f"voicespan recover: {error}\n")
        return _MISUSED
    return status


if __name__ == "__main__":
    sys.exit(main())
