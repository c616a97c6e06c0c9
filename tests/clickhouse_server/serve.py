"""Serve ClickHouse's HTTP and native protocols from the engine library that npm ships.

No package index ships the server program; the npm package of chDB ships the engine, whose command line can
open the server's ports. It is the real engine over real connections, without replication and ON CLUSTER.
Run: python serve.py DATA_DIRECTORY HTTP_PORT TCP_PORT. SIGTERM stops it.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

LIBRARY = Path(__file__).parent / "node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"

# One endless query keeps the engine open after the ports are; SIGTERM ends it.
_LISTEN = (
    "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; "
    "SELECT count() FROM system.numbers WHERE sleepEachRow(1) = 1 "
    "SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0, max_execution_time = 0"
)


def main(directory: str, http_port: str, tcp_port: str) -> None:
    arguments = [
        "clickhouse",
        f"--path={directory}",
        f"--http_port={http_port}",
        f"--tcp_port={tcp_port}",
        "--listen_host=127.0.0.1",
        f"--query={_LISTEN}",
    ]
    library = ctypes.CDLL(str(LIBRARY))
    library.chdb_query_cmdline.restype = ctypes.c_void_p
    library.chdb_query_cmdline(
        len(arguments), (ctypes.c_char_p * len(arguments))(*[argument.encode() for argument in arguments])
    )


if __name__ == "__main__":
    main(*sys.argv[1:4])
