"""The echo listener, as a plain socket sees it."""
import random
import socket
import struct
import subprocess
import threading
import time
from contextlib import ExitStack

from jobpool.v1 import job_pb2, thread_pb2
from jobpool_e2e import BIN, PATIENCE, SLOW, E2eTest, eventually, sleep_job

Thread = thread_pb2.Thread
MOST = 256
LONG = "300s"  # a drain_timeout that no test waits for
RNG = random.Random(1)


def upper(data):
    return bytes(b - 32 if 97 <= b <= 122 else b for b in data)


def receive(client, size):
    """`size` bytes, or fewer at the end of file."""
    data = bytearray()
    while len(data) < size and (more := client.recv(size - len(data))):
        data += more
    return bytes(data)


def ask(client, data):
    client.sendall(data)
    return receive(client, len(data))


class Echo(E2eTest):
    def setUp(self):
        self.clients = ExitStack()
        self.addCleanup(self.clients.close)

    def serve(self, **options):
        return self.both("--echo_listen=127.0.0.1:0", **options)

    def connect(self, server):
        client = socket.create_connection(server.echo.rsplit(":", 1), timeout=PATIENCE)
        return self.clients.enter_context(client)

    def connections(self, client):
        return [t for t in client.list_threads().threads if t.role == Thread.CONNECTION]

    def test_bytes_without_a_newline_come_back_at_once_in_upper_case(self):
        server, _ = self.serve()
        client = self.connect(server)
        for sent, back in ((b"hello", b"HELLO"), (b"x", b"X"), (b"a\0b\n\xff\xe9\xc3\xa9z", b"A\0B\n\xff\xe9\xc3\xa9Z")):
            self.assertEqual(ask(client, sent), back)
        times = []
        for _ in range(50):
            start = time.monotonic()
            ask(client, b"now")
            times.append(time.monotonic() - start)
        self.assertLess(sorted(times)[25], 0.02 * SLOW)  # no algorithm waits for more to send

    def test_five_clients_are_five_threads_that_go_with_them(self):
        server, client = self.serve()
        before = server.metrics()
        self.assertEqual(before.sum("jobpool_threads", role="connection", state="idle"), 0)
        self.assertEqual(before.sum("jobpool_threads", role="connection", state="running"), 0)
        counts = client.active_count()
        clients = [self.connect(server) for _ in range(5)]
        for one in clients:
            self.assertEqual(ask(one, b"in"), b"IN")
        threads = self.connections(client)
        self.assertEqual({t.display_name for t in threads}, {f"Connection-{i}" for i in range(1, 6)})
        for thread in threads:
            self.assertEqual((thread.daemon, thread.pool, thread.process_id), (True, "", server.pid))
            self.assertEqual(thread.native_name, server.native_name(thread.os_thread_id))
        later = client.active_count()
        self.assertEqual(later.counts_by_role["CONNECTION"], 5)
        self.assertEqual(later.active_count, counts.active_count + 5)
        self.assertEqual(later.snapshot_version, counts.snapshot_version + 5)
        scrape = server.metrics()
        self.assertEqual(scrape.sum("jobpool_threads", role="connection"), 5)
        self.assertEqual(scrape.sum("jobpool_threads"), later.active_count)

        clients[0].close()
        clients[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        clients[1].close()  # with a RST
        clients[2].shutdown(socket.SHUT_WR)
        eventually(lambda: len(self.connections(client)) == 2, deadline=SLOW, what="three have gone")
        self.assertEqual(clients[2].recv(1), b"")
        for one in clients[3:]:
            self.assertEqual(ask(one, b"on"), b"ON")
            one.close()
        eventually(lambda: client.active_count().snapshot_version == later.snapshot_version + 5, deadline=SLOW,
                   what="all have gone")
        self.assertEqual(client.active_count().active_count, counts.active_count)
        self.assertNotIn("CONNECTION", client.active_count().counts_by_role)

    def test_257th_is_closed_at_once_and_the_others_go_on(self):
        server, client = self.serve()
        descriptors = server.descriptors()
        clients = [self.connect(server) for _ in range(MOST)]
        eventually(lambda: len(self.connections(client)) == MOST, what="all of them are served")
        for _ in range(3):
            surplus = self.connect(server)
            surplus.settimeout(SLOW)
            self.assertEqual(surplus.recv(1), b"")
        for one in clients:
            self.assertEqual(ask(one, b"still"), b"STILL")
        self.assertEqual(len(self.connections(client)), MOST)
        clients.pop().close()
        eventually(lambda: len(self.connections(client)) == MOST - 1, deadline=SLOW)
        self.assertEqual(ask(self.connect(server), b"next"), b"NEXT")
        self.clients.close()
        eventually(lambda: not self.connections(client), deadline=SLOW, what="all have gone")
        eventually(lambda: server.descriptors() <= descriptors + 1, what="so have their descriptors")

    def test_ten_megabytes_in_odd_chunks(self):
        server, _ = self.serve()
        data = RNG.randbytes(10_000_000)
        client = self.connect(server)

        def send():
            rng, view = random.Random(2), memoryview(data)
            while view:
                size = rng.choice((1, 7, 1000, 16384, 16385, 100_001))
                client.sendall(view[:size])
                view = view[size:]
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = receive(client, len(data) + 1)  # to the end of file
        sender.join()
        self.assertTrue(received == upper(data), f"{len(received)} bytes")

    def test_client_that_never_reads_costs_little_and_disturbs_nobody(self):
        server, client = self.serve()
        deaf = self.connect(server)
        deaf.setblocking(False)
        chunk = b"a" * 65536

        def stuck():
            try:
                while True:
                    deaf.send(chunk)
            except BlockingIOError:
                threads = self.connections(client)
                return [t.state for t in threads] == [Thread.RUNNING]

        eventually(stuck, what="nothing more goes in")  # so what it holds is bounded
        self.assertEqual(ask(self.connect(server), b"other"), b"OTHER")
        cpu = self.connections(client)[0].cpu_time
        self.assertLess(cpu.seconds + cpu.nanos / 1e9, 1 * SLOW)  # it does not spin
        deaf.close()
        eventually(lambda: len(self.connections(client)) == 1, deadline=SLOW, what="it has gone")

    def test_shutdown_with_clients_connected(self):
        server, client = self.serve(drain_timeout=LONG)
        silent = [self.connect(server) for _ in range(5)]
        deaf = self.connect(server)
        deaf.setblocking(False)
        try:
            while True:
                deaf.send(b"a" * 65536)
        except BlockingIOError:
            pass
        eventually(lambda: len(self.connections(client)) == 6)
        start = time.monotonic()
        server.signal()
        self.assertEqual(server.wait(), 0)
        self.assertLess(time.monotonic() - start, 5 * SLOW)
        for one in silent:
            self.assertEqual(one.recv(1), b"")

    def test_connections_go_on_until_the_jobs_have_ended_but_no_new_one_begins(self):
        server, client = self.serve(drain_timeout=LONG)
        one = self.connect(server)
        self.assertEqual(ask(one, b"before"), b"BEFORE")
        job = client.running(client.submit(sleep_job(600)).name)
        server.signal()

        def refused():
            try:
                with socket.create_connection(server.echo.rsplit(":", 1), timeout=PATIENCE) as late:
                    late.settimeout(0.1)
                    return late.recv(1) == b""
            except TimeoutError:  # it came before the signal
                return False
            except ConnectionError:
                return True

        eventually(refused, what="new connections are refused")
        self.assertEqual(ask(one, b"meanwhile"), b"MEANWHILE")
        self.assertEqual(client.cancel(job.name).state, job_pb2.Job.RUNNING)
        self.assertEqual(server.wait(), 0)
        self.assertEqual(one.recv(1), b"")


class FailedStart(E2eTest):
    FREE = ("--grpc_listen=127.0.0.1:0", "--http_listen=127.0.0.1:0")

    def refuses(self, *flags, word):
        with self.subTest(flags):
            done = subprocess.run([f"{BIN}/jobpoold", *flags], capture_output=True, text=True, timeout=10 * SLOW,
                                  stdin=subprocess.DEVNULL, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
            self.assertRegex(done.stderr, r"\Ajobpoold: [^\n]+\n\Z")  # one line
            self.assertIn(word, done.stderr)

    def test_port_in_use(self):
        server = self.server("--echo_listen=127.0.0.1:0")
        self.refuses(*self.FREE, f"--echo_listen={server.echo}", word=f"{server.echo}: Address already in use")
        self.refuses(f"--grpc_listen={server.grpc}", self.FREE[1], "--echo_listen=127.0.0.1:0", word=server.grpc)

    def test_bad_addresses(self):
        for bad in ("", "x", "127.0.0.1", "127.0.0.1:65536", "::1:0", "unix:/tmp/echo"):
            self.refuses(*self.FREE, f"--echo_listen={bad}", word="--echo_listen")
        self.refuses(*self.FREE, "--echo_listen=0.0.0.0:0", word="--insecure")
        self.refuses(*self.FREE, "--echo_listen=192.0.2.1:0", "--insecure", word="192.0.2.1:0")  # not this machine's

    def test_off_by_default_and_off_loopback_when_told(self):
        self.assertIsNone(self.server().echo)
        server = self.server("--echo_listen=0.0.0.0:0", "--insecure")
        with socket.create_connection(("127.0.0.1", int(server.echo.rsplit(":", 1)[1])), timeout=PATIENCE) as client:
            self.assertEqual(ask(client, b"open"), b"OPEN")
