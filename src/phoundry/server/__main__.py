"""`python -m phoundry.server HOME`: the detached control plane."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from phoundry.errors import PhoundryError
from phoundry.files import write_json
from phoundry.settings import Home


def main() -> int:
    parser = argparse.ArgumentParser(prog="phoundry.server")
    parser.add_argument("home", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--gateway-port", type=int)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it survives the terminal that started it
    home = Home(arguments.home)
    try:
        from phoundry.server.control_plane import ControlPlane

        ControlPlane(home, port=arguments.port, gateway_port=arguments.gateway_port).run()
    except PhoundryError as error:
        sys.stderr.write(f"{error}\n")
        write_json(home.logs / "server-error.json", error.to_dict())
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
