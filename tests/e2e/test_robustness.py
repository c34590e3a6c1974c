"""What strangers may send: bytes that are no HTTP/2, no HTTP, no protobuf; too much; and nothing at all.
After each the same process serves, with as many descriptors as before."""
import random
import re
import socket
import struct
import time

import grpc
from jobpool.v1 import job_service_pb2 as js
from jobpool_e2e import PATIENCE, SLOW, E2eTest, eventually, noop_job

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
# HPACK, literals without indexing: `:method: POST`, `:path: /x`, `content-type: application/grpc`.
CALL = b"\x83\x86\x04\x02/x\x0f\x10\x10application/grpc"
HELD = 100  # connections that are held open at each port
CONTENTION = 5 * SLOW  # s, for a call and a scrape beside them (Prometheus gives up after 10)
MIB = 1 << 20
# Bytes that do not parse are refused by gRPC, before our code; its callback API says UNIMPLEMENTED.
UNPARSED = {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT}
METHODS = [f"/jobpool.v1.{service}/{method}" for service, methods in {
    "JobService": "SubmitJob RunJob GetJob ListJobs UpdateJob WaitJobs CancelJob DeleteJob",
    "ThreadService": "ListThreads GetActiveCount GetThread GetCurrentThread UpdateThread",
    "PoolService": "ListPools GetPool"}.items() for method in methods.split()] + ["/grpc.health.v1.Health/Check"]


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    return struct.pack(">I", len(payload) if length is None else length)[1:] + struct.pack(
        ">BBI", kind, flags, stream) + payload


def http2_attacks(rng):
    hello = PREFACE + frame(SETTINGS)
    yield from (rng.randbytes(rng.randrange(1, 65536)) for _ in range(30))
    yield from (PREFACE[:cut] for cut in range(1, len(PREFACE), 5))
    yield from (hello + rng.randbytes(rng.randrange(1, 16384)) for _ in range(30))
    for kind in range(12):  # every type of frame: cut, oversized, at odds with its length, on odd streams
        for stream in (0, 1, 2, 2**31 - 1, 2**32 - 1):
            yield hello + frame(kind, 0xFF, stream, rng.randbytes(40))
            yield hello + frame(kind, 0x04, stream, CALL)
            yield hello + frame(kind, 0, stream, rng.randbytes(100), length=0xFFFFFF)
            yield hello + frame(kind, 0, stream, rng.randbytes(100))[:rng.randrange(1, 100)]
    yield hello + frame(HEADERS, 0x0C, 1, b"\xff" + CALL)  # more padding than frame
    yield hello + frame(HEADERS, 0x04, 1, CALL) + frame(DATA, 1, 1, b"\0\xff\xff\xff\xff")  # a 4 GiB message
    yield hello + frame(HEADERS, 0x04, 1, CALL) + frame(DATA, 1, 1, b"\7\0\0\0\1x")  # unknown compression
    yield hello + frame(HEADERS, 0, 1, CALL) + frame(CONTINUATION, 0, 1, b"\0\1a\1b" * 1000) * 20  # without end
    yield hello + frame(HEADERS, 0x04, 1, b"\x3f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")  # table of 2^70 bytes
    yield hello + frame(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff" + b"\0\5\0\0\0\0" + b"\xff\xff\0\0\0\0")
    yield hello + frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2
    yield hello + frame(PING, 0, 0, b"12345678") * 2000
    yield hello + frame(SETTINGS) * 2000
    yield hello + b"".join(frame(HEADERS, 5, 2 * i + 1, CALL) + frame(RST, 0, 2 * i + 1, b"\0\0\0\x08")
                           for i in range(2000))  # rapid reset
    yield b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    yield b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + rng.randbytes(500)  # TLS


def http_attacks(rng):
    yield from (rng.randbytes(rng.randrange(1, 65536)) for _ in range(30))
    yield from (b"GET /metrics HTTP/1.1\r\n\r\n"[:cut] for cut in range(1, 25, 4))
    yield b"GET /" + b"a" * MIB + b" HTTP/1.1\r\n\r\n"
    yield b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n"
    yield b"GET /metrics HTTP/1.1\r\nX: " + b"y" * MIB + b"\r\n\r\n"
    yield b"GET /../../etc/passwd HTTP/1.1\r\n\r\n"
    yield b"GET /%00%ff%zz HTTP/1.1\r\n\r\n"
    yield b"GET \0 HTTP/1.1\r\n\r\n"
    yield b"GET /metrics HTTP/9.9\r\n\r\n"
    for length in (b"-1", b"99999999999999999999", b"0x10", b"1 2", b"1000000000", b""):
        yield b"POST /metrics HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\nabc"
    for chunk in (b"ffffffffffffffff\r\n", b"-1\r\n", b"zz\r\n", b"5\r\nab"):
        yield b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk
    yield b"GET /metrics HTTP/1.1\r\nRange: bytes=" + b"0-1," * 5000 + b"\r\n\r\n"
    yield b"BREW /metrics HTTP/1.1\r\n\r\n"
    yield b"GET /readyz HTTP/1.1\r\n\r\n" * 1000  # pipelined
    yield PREFACE + frame(SETTINGS)


class Robustness(E2eTest):
    def setUp(self):
        self.jobpoold, self.caller = self.both()
        self.serves()
        self.before = self.jobpoold.descriptors()
        self.addCleanup(self.check_nothing_is_left)
        self.stranger = self.client(self.jobpoold)  # of its connection gRPC may be rid at any time

    def serves(self):
        self.assertEqual(self.jobpoold.process.poll(), None, "the server is gone")
        start = time.monotonic()
        self.assertEqual(self.caller.run(noop_job(b"x")).result.noop.payload, b"x")
        called = time.monotonic()
        self.jobpoold.metrics()
        return called - start, time.monotonic() - called

    def check_nothing_is_left(self):
        self.serves()
        eventually(lambda: self.jobpoold.descriptors() <= self.before, what=f"{self.before} descriptors again")

    def connect(self, address):
        host, port = address.rsplit(":", 1)
        return socket.create_connection((host, int(port)), timeout=PATIENCE)

    def attack(self, address, data, patient):
        with self.connect(address) as connection:
            try:
                connection.sendall(data)
                if patient:  # and hears what the server has to say, until that closes
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
            except OSError as error:  # closed by the server already
                self.assertNotIsInstance(error, TimeoutError, data[:100])

    def test_bytes_that_are_no_http2(self):
        for i, data in enumerate(http2_attacks(random.Random(1))):
            with self.subTest(i, data=data[:60]):
                self.attack(self.jobpoold.grpc, data, patient=i % 2)

    def test_bytes_that_are_no_http(self):
        for i, data in enumerate(http_attacks(random.Random(2))):
            with self.subTest(i, data=data[:60]):
                self.attack(self.jobpoold.http, data, patient=i % 2)

    def hold(self, *starts):
        """Connections to both ports that say so much and then nothing more."""
        for address, start in zip((self.jobpoold.grpc, self.jobpoold.http), starts):
            for _ in range(HELD):
                connection = self.connect(address)
                self.addCleanup(connection.close)
                connection.sendall(start)
        call, scrape = self.serves()
        self.assertLess(call, CONTENTION, "RunJob")
        self.assertLess(scrape, CONTENTION, "/metrics")
        other = self.client(self.jobpoold)  # a connection that comes after them
        self.assertEqual(other.run(noop_job(b"y"), timeout=CONTENTION).result.noop.payload, b"y")

    def closed(self, connection):
        """The server has closed it, whatever it said before."""
        connection.settimeout(PATIENCE)
        try:
            while connection.recv(65536):
                pass
        except ConnectionError:
            pass

    def test_an_http_line_without_end_grows_nothing(self):
        before = self.peak_memory()
        for start in (b"GET /", b"GET /metrics HTTP/1.1\r\nX: ", b""):
            with self.subTest(start), self.connect(self.jobpoold.http) as connection:
                sent = 0
                with self.assertRaises(OSError):  # closed by the server
                    connection.sendall(start)
                    while sent < 256 * MIB:
                        connection.sendall(b"a" * MIB)
                        sent += MIB
                self.closed(connection)
        self.assertLess(self.peak_memory() - before, 16 * MIB * SLOW)

    def test_trickling_http_clients_stop_no_scrape(self):
        trickling = [self.connect(self.jobpoold.http) for _ in range(2 * HELD)]
        for connection in trickling:
            self.addCleanup(connection.close)
            connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        # Each gets 10 s for its request, however busily it goes on with it.
        end = time.monotonic() + PATIENCE
        while trickling and time.monotonic() < end:
            start = time.monotonic()
            self.jobpoold.metrics()
            self.assertLess(time.monotonic() - start, CONTENTION)
            for connection in list(trickling):
                try:
                    connection.sendall(b"x")
                except OSError:
                    trickling.remove(connection)
        self.assertEqual(trickling, [], "not cut off")

    def test_silent_connections(self):
        self.hold(b"", b"")

    def test_half_requests(self):
        self.hold(PREFACE + frame(SETTINGS) + frame(HEADERS, 0x04, 1, CALL) + frame(DATA, 0, 1, b"\0\0\0\1\0abc"),
                  b"POST /metrics HTTP/1.1\r\nContent-Length: 1000\r\n\r\nabc")

    def test_half_headers(self):
        self.hold(PREFACE + frame(SETTINGS) + frame(HEADERS, 0, 1, CALL), b"GET /metrics HTTP/1.1\r\nHost: ")

    def raw(self, path, data, **options):
        """The code that a call with these bytes ends with."""
        try:
            self.stranger.channel.unary_unary(path)(data, timeout=PATIENCE, **options)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    def test_bytes_that_are_no_protobuf(self):
        rng = random.Random(3)
        no_answer = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN}
        cut = js.SubmitJobRequest(job=noop_job(b"x" * 100, display_name="x")).SerializeToString()
        for path in METHODS:
            with self.subTest(path):
                for _ in range(50):
                    self.assertNotIn(self.raw(path, rng.randbytes(rng.randrange(1, 300))), no_answer)
                # A length beyond the end, an endless varint, field 0, an end of a group that never began.
                for bad in (b"\x0a\x7fx", b"\x08" + b"\xff" * 11, b"\x02\x00", b"\x0c"):
                    self.assertIn(self.raw(path, bad), UNPARSED)
        for length in range(1, len(cut)):
            self.assertIn(self.raw(METHODS[0], cut[:length]), UNPARSED)
        reflection = self.stranger.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        for _ in range(50):
            try:
                list(reflection(iter([rng.randbytes(50)]), timeout=PATIENCE))
            except grpc.RpcError as error:
                self.assertNotIn(error.code(), no_answer)

    def test_text_that_is_no_utf8(self):
        for text in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf8\x88\x80\x80\x80", b"\xf4\x90\x80\x80"):
            name = b"\x0a" + bytes([len(text)]) + text  # field 1, as of GetJobRequest
            display_name = b"\x12" + bytes([len(text)]) + text  # field 2, as of Job and Thread
            job = display_name + b"\x2a\x00"  # field 5: noop
            for path, data in (("JobService/GetJob", name), ("ThreadService/GetThread", name),
                               ("JobService/WaitJobs", name), ("PoolService/GetPool", name),
                               ("JobService/SubmitJob", b"\x0a" + bytes([len(job)]) + job),
                               ("JobService/SubmitJob", b"\x0a\x02\x2a\x00" + b"\x12" + name[1:]),
                               ("JobService/ListJobs", b"\x12" + name[1:])):
                with self.subTest(path, text=text):
                    self.assertIn(self.raw("/jobpool.v1." + path, data), UNPARSED)

    def peak_memory(self):
        with open(f"/proc/{self.jobpoold.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1)) * 1024

    def test_messages_that_are_too_large(self):
        refused = grpc.StatusCode.RESOURCE_EXHAUSTED
        submit = "/jobpool.v1.JobService/SubmitJob"
        largest = 16 * MIB  # on the way: a little less of it is payload
        fits = js.SubmitJobRequest(job=noop_job(bytes(largest - 100))).SerializeToString()
        self.assertEqual(self.raw(submit, fits), grpc.StatusCode.INVALID_ARGUMENT)  # ours: a payload's bound
        self.assertIn(self.raw(submit, bytes(largest)), UNPARSED)  # taken in, but it is no message
        self.assertEqual(self.raw(submit, bytes(largest + 1)), refused)
        self.assertEqual(self.raw(submit, bytes(100 * MIB)), refused)
        before = self.peak_memory()
        bomb = js.SubmitJobRequest(job=noop_job(bytes(256 * MIB))).SerializeToString()  # 256 KiB compressed
        # Compression is off: what a message unfolds to would have no bound.
        self.assertEqual(self.raw(submit, bomb, compression=grpc.Compression.Gzip), grpc.StatusCode.UNIMPLEMENTED)
        self.assertLess(self.peak_memory() - before, 64 * MIB * SLOW)

    def test_unknown_methods_and_large_metadata(self):
        series = len(self.jobpoold.metrics().samples)
        for path in ("/x/y", "/jobpool.v1.JobService/Nope", "/jobpool.v1.Nope/GetJob", "/", "/jobpool.v1.JobService/",
                     "/" + "x" * 1000 + "/y", '/"\\\n/y'.replace("\n", "%0a")):
            self.assertEqual(self.raw(path, b""), grpc.StatusCode.UNIMPLEMENTED)
        for count in (100, 1000):  # of the larger one gRPC may also drop the connection
            large = [(f"x-{i}", "y" * 100) for i in range(count)]
            self.assertIn(self.raw("/jobpool.v1.ThreadService/GetActiveCount", b"", metadata=large),
                          (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)[:count // 500 + 1])
        self.assertEqual(len(self.jobpoold.metrics().samples), series)  # no name of theirs is a label


class SlowReaders(E2eTest):
    STREAMS = 500
    MAX_CALL_BYTES = 64 * MIB

    def resident(self, server):
        with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) * 1024

    def test_answers_that_nobody_reads_cost_a_bounded_amount(self):
        server, client = self.both(self.config_flag(f"limits {{ max_call_bytes: {self.MAX_CALL_BYTES} }}"))
        name = client.run(noop_job(bytes(MIB))).name.encode()  # an answer of 2 MiB, with payload and result
        path = b"/jobpool.v1.JobService/GetJob"
        headers = (b"\x83\x86\x04" + bytes([len(path)]) + path + b"\x01\x01x"  # :authority
                   + b"\x0f\x10\x10application/grpc" + b"\0\x02te\x08trailers")
        request = b"\x0a" + bytes([len(name)]) + name
        message = b"\0" + struct.pack(">I", len(request)) + request
        before = self.resident(server)
        handled = ("grpc_server_handled_total", {"grpc_method": "GetJob"})
        host, port = server.grpc.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as deaf:
            # Its streams' windows are shut: it takes headers, and not a byte of an answer.
            deaf.sendall(PREFACE + frame(SETTINGS, payload=b"\0\4\0\0\0\0") + b"".join(
                frame(HEADERS, 0x04, 2 * i + 1, headers) + frame(DATA, 1, 2 * i + 1, message)
                for i in range(self.STREAMS)))
            eventually(lambda: server.metrics().sum(handled[0], **handled[1]) >= self.STREAMS,
                       what="every call has been answered")
            metrics = server.metrics()
            self.assertGreater(metrics.sum(handled[0], grpc_code="OK", **handled[1]), 10)
            self.assertGreater(metrics.sum(handled[0], grpc_code="ResourceExhausted", **handled[1]),
                               self.STREAMS // 2)
            # What is held is there twice: as a message, and as its bytes.
            self.assertLess(self.resident(server) - before, 4 * self.MAX_CALL_BYTES * (2 if SLOW > 1 else 1))
            self.assertEqual(client.run(noop_job(b"x")).result.noop.payload, b"x")  # others are served
            error = self.fails(grpc.StatusCode.RESOURCE_EXHAUSTED, client.get, name.decode())
            self.assertEqual(error.reason, "TOO_MANY_CALLS")
        eventually(lambda: self.fits(client, name.decode()), what="what it held is given back")

    @staticmethod
    def fits(client, name):
        try:
            return client.get(name).name == name
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            return False
