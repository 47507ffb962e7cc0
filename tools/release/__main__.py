"""Everything that a release needs, as commands: ``python -m tools.release COMMAND``.

    build                     wheel, sdist and registry pack into dist/, twice, to the same bytes
    check                     what they hold: all that they must, and nothing else
    wheel [PYTHON ...]        README's first command from the wheel, in a fresh environment each
    pack HOST [TEST ...]      tests/host from the registry pack, in a ComfyUI checkout
    bill PYTHON               a bill of materials, and docs/licences.md, of an environment
    version VERSION           write it everywhere and date the changelog
    begin VERSION             open the changelog's section for what comes next

``build``, ``check``, ``wheel`` and ``pack`` look at the last commit alone.  They need the extra
``release``; ``pack`` needs what tests/host needs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .bill import write_bill
from .building import ReleaseError, build
from .contents import check
from .trial import place, try_pack, try_wheel
from .version import begin, set_version

HOST_TESTS = ["tests/host/test_app.py", "tests/host/test_workflows.py"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.release",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build")
    commands.add_parser("check")
    wheel = commands.add_parser("wheel")
    wheel.add_argument("python", nargs="*", default=[sys.executable])
    wheel.add_argument("--keep", type=Path, help="a folder to work in, which is not removed")
    pack = commands.add_parser("pack")
    pack.add_argument("host", type=Path)
    pack.add_argument("test", nargs="*", default=HOST_TESTS)
    pack.add_argument("--python", default=sys.executable)
    bill = commands.add_parser("bill")
    bill.add_argument("python", type=Path)
    for name in ("version", "begin"):
        commands.add_parser(name).add_argument("version")
    return parser


def main(words: Sequence[str] | None = None) -> None:
    """Run a command and say what was found; exit code 1 for what keeps a release back."""
    options = _parser().parse_args(words)
    lines: list[str] = []
    try:
        if options.command == "build":
            lines = [f"{path.name}: {path.stat().st_size / 1e6:.1f} MB" for path in build()]
        elif options.command == "check":
            lines = check()
        elif options.command == "wheel":
            for python in options.python:
                with place(options.keep) as folder:
                    lines += try_wheel(python, folder)
        elif options.command == "pack":
            lines = try_pack(options.host, options.python, options.test)
        elif options.command == "bill":
            lines = write_bill(options.python)
        elif options.command == "version":
            set_version(options.version)
        elif options.command == "begin":
            begin(options.version)
    except ReleaseError as error:
        sys.exit(str(error))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
