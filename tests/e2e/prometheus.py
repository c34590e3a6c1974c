"""Debian's real Prometheus, for the tests that let it scrape the server."""
import os
import signal
import socket
import subprocess
import tempfile

from jobpool_e2e import PATIENCE

PROMETHEUS = "/usr/bin/prometheus"


def start(test, files):
    """Starts it on `files` (by their names, among them prometheus.yml) until the test ends; its address."""
    folder = tempfile.TemporaryDirectory()
    test.addCleanup(folder.cleanup)
    for name, text in files.items():
        path = os.path.join(folder.name, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = tempfile.TemporaryFile()
    test.addCleanup(log.close)
    process = subprocess.Popen([PROMETHEUS, f"--config.file={folder.name}/prometheus.yml",
                                f"--storage.tsdb.path={folder.name}/data", f"--web.listen-address={address}"],
                               stdout=log, stderr=log)

    def stop():
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    test.addCleanup(stop)
    return address
