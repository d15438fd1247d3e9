"""A Ceph of one host with its object gateway: the only real S3 that Debian has.

One monitor, one manager, one storage daemon that keeps everything in memory, and the gateway, all
on loopback, with an account whose key is `test` and whose secret is `test12345`.
"""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from services.processes import end, free_port, launch, not_installed, wait_for_answer

KEY, SECRET = "test", "test12345"

CONFIG = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{msgr2}/0,v1:127.0.0.1:{msgr1}/0]
mon initial members = a
public network = 127.0.0.0/8
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {folder}/keyring
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
osd crush chooseleaf type = 0
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
mon max pg per osd = 1000
mon data avail crit = 1
mon warn on pool no redundancy = false
osd objectstore = memstore
memstore device bytes = 4294967296
osd max object name len = 256
osd memory target = 939524096
run dir = {folder}/run
admin socket = {folder}/run/$cluster-$name.asok
log file = {folder}/$name.log
pid file =
ms bind ipv6 = false
rgw frontends = beast endpoint=127.0.0.1:{port}
debug mon = 0
debug osd = 0
debug rgw = 0
[mon.a]
mon data = {folder}/mon
[mgr.x]
mgr data = {folder}/mgr
mgr initial modules =
[osd.0]
osd data = {folder}/osd
"""

CAPABILITIES = {
    "mon.": ["mon", "allow *"],
    "client.admin": ["mon", "allow *", "osd", "allow *", "mgr", "allow *"],
    "mgr.x": ["mon", "allow profile mgr", "osd", "allow *", "mds", "allow *"],
    "osd.0": ["mon", "allow profile osd", "osd", "allow *", "mgr", "allow profile osd"],
    "client.rgw.a": ["mon", "allow rwx", "osd", "allow rwx", "mgr", "allow rw"],
}


@contextmanager
def gateway(folder: Path) -> Iterator[str]:
    """Run it all for the length of a block; yield the URL of the gateway."""
    for tool in ("ceph-mon", "ceph-mgr", "ceph-osd", "radosgw", "ceph"):
        if shutil.which(tool) is None:
            not_installed(tool)
    for name in ("mon", "mgr", "osd", "run"):
        (folder / name).mkdir(parents=True)
    fsid = str(uuid.uuid4())
    msgr2, msgr1, port = free_port(), free_port(), free_port()
    config = folder / "ceph.conf"
    config.write_text(CONFIG.format(fsid=fsid, folder=folder, msgr2=msgr2, msgr1=msgr1, port=port))
    keyring, monmap = folder / "keyring", folder / "monmap"

    def run(*command: object, check: bool = True) -> str:
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        if check and done.returncode:
            pytest.fail(f"{' '.join(map(str, command))}: {done.stderr[-2000:]}")
        return done.stdout

    for name, allowed in CAPABILITIES.items():
        pairs = zip(allowed[::2], allowed[1::2], strict=True)
        create = ["--create-keyring"] if not keyring.exists() else []
        flags = [part for pair in pairs for part in ("--cap", *pair)]
        run("ceph-authtool", *create, keyring, "--gen-key", "-n", name, *flags)
    addresses = f"[v2:127.0.0.1:{msgr2},v1:127.0.0.1:{msgr1}]"
    run("monmaptool", "--create", "--addv", "a", addresses, "--fsid", fsid, monmap)
    ceph = ["ceph", "-c", config, "--connect-timeout", 5]
    started = []

    def start(*command: object) -> None:
        started.append(launch([*command, "-f"], folder / f"{command[0]}.out"))

    def wait_until(text: str, *command: object) -> None:
        until = time.monotonic() + 60
        while text not in run(*ceph, *command, check=False):
            if time.monotonic() > until:
                pytest.fail(f"ceph {command} does not say {text!r}; see {folder}")
            time.sleep(0.2)

    try:
        run("ceph-mon", "-c", config, "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        start("ceph-mon", "-c", config, "-i", "a")
        wait_until("cluster", "-s")
        start("ceph-mgr", "-c", config, "-i", "x")
        storage = str(uuid.uuid4())
        run(*ceph, "osd", "create", storage)
        run("ceph-osd", "-c", config, "-i", "0", "--mkfs", "--osd-uuid", storage)
        start("ceph-osd", "-c", config, "-i", "0")
        wait_until("1 up", "osd", "stat")
        start("radosgw", "-c", config, "-n", "client.rgw.a", "-k", keyring)
        run(
            "radosgw-admin", "-c", config, "user", "create", "--uid=test", "--display-name=test",
            f"--access-key={KEY}", f"--secret-key={SECRET}",
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        wait_for_answer(url, started[-1], folder / "radosgw.out", 60)
        yield url
    finally:
        for process in reversed(started):
            end(process)
