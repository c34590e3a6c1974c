"""What a service manager is told (sd_notify(3)), at a socket like systemd's."""
import os
import signal
import socket
import tempfile
import time

from jobpool.v1 import job_pb2
from jobpool_e2e import PATIENCE, Client, E2eTest, Server, noop_job, sleep_job

Job = job_pb2.Job


class Manager:
    """A socket for notifications. `close` must be called."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self._folder.name, "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.bind(self.path)
        self.watchdogs = 0  # so far

    def close(self):
        self._socket.close()
        self._folder.cleanup()

    def receive(self):
        """The next message's assignments."""
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())

    def news(self):
        """The next message that is not the watchdog's."""
        while (message := self.receive()) == {"WATCHDOG": "1"}:
            self.watchdogs += 1
        return message

    def rest(self):
        """What else has come."""
        self._socket.setblocking(False)
        messages = []
        try:
            while True:
                messages.append(self.receive())
        except BlockingIOError:
            return messages


class ManagedServer(Server):
    """Knows that it serves from its manager alone."""

    def __init__(self, manager, *flags, **options):
        self._manager = manager
        super().__init__(*flags, env={"NOTIFY_SOCKET": manager.path}, **options)

    def _serving(self):
        message = self._manager.receive()
        assert message == {"READY": "1"}, message
        serving = super()._serving()
        assert serving, self.log()
        return serving


class Notifications(E2eTest):
    def start(self, *flags, **options):
        """A server that is ready by its own word."""
        manager = Manager()
        self.addCleanup(manager.close)
        server = ManagedServer(manager, *flags, **options)
        self.addCleanup(server.finish)
        client = Client(server.grpc)
        self.addCleanup(client.close)
        return manager, server, client

    def test_ready_when_all_ports_serve(self):
        manager, server, client = self.start("--echo_listen=127.0.0.1:0")
        self.assertEqual(client.run(noop_job()).state, Job.SUCCEEDED)
        self.assertEqual(client.health(), 1)
        self.assertEqual(server.get("/readyz")[0], 200)
        with socket.create_connection(server.echo.split(":"), timeout=PATIENCE) as echo:
            echo.sendall(b"a")
            self.assertEqual(echo.recv(1), b"A")

    def test_watchdog_again_and_again(self):
        manager, _, client = self.start()
        start = time.monotonic()
        for _ in range(4):
            self.assertEqual(manager.receive(), {"WATCHDOG": "1"})
        self.assertGreater(time.monotonic() - start, 1)  # once a second, about: no flood
        client.submit(sleep_job(600))
        self.assertEqual(manager.receive(), {"WATCHDOG": "1"})

    def test_reloading_then_ready_also_when_refused(self):
        with tempfile.NamedTemporaryFile("w", suffix=".textproto") as config:
            manager, server, client = self.start(f"--config={config.name}")
            for text, successful in (("", 1), ("nonsense", 0), ("limits {}", 1)):
                config.seek(0)
                config.truncate()
                config.write(text)
                config.flush()
                before = time.monotonic_ns() // 1000
                server.signal(signal.SIGHUP)
                message = manager.news()
                self.assertEqual((sorted(message), message["RELOADING"]), (["MONOTONIC_USEC", "RELOADING"], "1"))
                self.assertGreaterEqual(int(message["MONOTONIC_USEC"]), before)
                self.assertEqual(manager.receive(), {"READY": "1"})
                self.assertLessEqual(int(message["MONOTONIC_USEC"]), time.monotonic_ns() // 1000)
                self.assertEqual(server.metrics().sum("jobpool_config_last_reload_successful"), successful)
            self.assertEqual(client.run(noop_job()).state, Job.SUCCEEDED)

    def test_stopping_before_the_drain(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            manager, server, client = self.start(drain_timeout="300s")
            name = client.submit(sleep_job(600)).name
            client.running(name)
            server.signal(number)
            self.assertEqual(manager.news(), {"STOPPING": "1"})
            self.assertIsNone(server.process.poll())
            self.assertEqual(client.get(name).state, Job.RUNNING)
            client.cancel(name)
            self.assertEqual(server.wait(), 0)
            self.assertEqual([message for message in manager.rest() if message != {"WATCHDOG": "1"}], [])

    def test_nothing_and_no_failure_without_a_socket(self):
        for path in ("", "/nonexistent/notify", "@jobpool-nobody-listens"):
            server = self.server(env={"NOTIFY_SOCKET": path})
            client = self.client(server)
            server.signal(signal.SIGHUP)
            self.assertEqual(client.run(noop_job()).state, Job.SUCCEEDED)
            server.signal()
            self.assertEqual(server.wait(), 0)
            self.assertNotRegex(server.log(), "(?i) (warning|error) ")
