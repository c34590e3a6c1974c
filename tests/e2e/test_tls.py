"""gRPC over TLS: who gets through, what both sides say about who does not, certificates replaced under load."""
import contextlib
import itertools
import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import threading

import grpc
from certificates import Authority, read, replace
from jobpool.v1 import job_pb2, job_service_pb2 as js, job_service_pb2_grpc
from jobpool_e2e import BIN, PATIENCE, SLOW, E2eTest, eventually, noop_job
from test_calls import BUF

Job = job_pb2.Job
FREE = ("--grpc_listen=127.0.0.1:0", "--http_listen=127.0.0.1:0")
EXPIRY = "jobpool_tls_certificate_expiry_timestamp_seconds"


def server_flags(certificate, client_ca=None):
    flags = [f"--tls_cert={certificate.cert}", f"--tls_key={certificate.key}"]
    return flags + ([f"--tls_client_ca={client_ca.cert}"] if client_ca else [])


def shown(address):
    """The certificate, in DER, that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        with context.wrap_socket(connection) as tls:
            assert tls.selected_alpn_protocol() == "h2", tls.selected_alpn_protocol()
            return tls.getpeercert(binary_form=True)


class TlsTest(E2eTest):
    @classmethod
    def setUpClass(cls):
        cls.authority, cls.stranger = Authority(), Authority("a stranger")
        cls.addClassCleanup(cls.authority.close)
        cls.addClassCleanup(cls.stranger.close)
        cls.own, cls.friend = cls.authority.server(), cls.authority.client()

    def channel(self, address, certificate=None, authority=None, options=()):
        pem, key = certificate.pem() if certificate else (None, None)
        credentials = grpc.ssl_channel_credentials(read((authority or self.authority).cert), key, pem)
        # A subchannel of its own: else channels that are alike share a connection.
        channel = grpc.secure_channel(address, credentials, [("grpc.use_local_subchannel_pool", 1),
                                                             ("grpc.enable_http_proxy", 0), *options])
        self.addCleanup(channel.close)
        return channel

    @staticmethod
    def run_noop(channel):
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        return stub.RunJob(js.RunJobRequest(job=noop_job()), timeout=PATIENCE)

    def gets_through(self, server, **how):
        self.assertEqual(self.run_noop(self.channel(server.grpc, **how)).state, Job.SUCCEEDED)

    def refused(self, channel, pattern):
        """Told so at once: not by the call's deadline."""
        with self.assertRaises(grpc.RpcError) as caught:
            self.run_noop(channel)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE, caught.exception)
        self.assertRegex(caught.exception.details(), pattern)

    def cli(self, address, *args, status=0, pattern=".", **env):
        clean = {k: v for k, v in os.environ.items() if not re.match("(?i).*_proxy$|JOBPOOL_", k)}
        done = subprocess.run([f"{BIN}/jobpool", "--server", address, *args, "run", "noop"], capture_output=True,
                              text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL, env={**clean, **env})
        self.assertEqual(done.returncode, status, f"{args}\n{done.stdout}\n{done.stderr}")
        if status != 0:
            self.assertRegex(done.stderr, r"\Aerror: [^\n]+\n\Z")  # one line
        self.assertRegex(done.stderr, pattern)
        return done.stdout

    def cli_flags(self, certificate=None, authority=None):
        flags = [f"--tls_ca={(authority or self.authority).cert}"]
        return flags + ([f"--tls_cert={certificate.cert}", f"--tls_key={certificate.key}"] if certificate else [])

    @contextlib.contextmanager
    def logs(self, server, pattern):
        """What happens inside makes the log grow by such a line."""
        before = len(server.log())
        yield
        eventually(lambda: re.search(pattern, server.log()[before:]), what=f"a line {pattern}")


class Clients(TlsTest):
    def test_tls_without_client_certificates(self):
        server = self.server(*server_flags(self.own))
        self.gets_through(server)
        self.gets_through(server, certificate=self.friend)  # not asked for, and no harm
        self.gets_through(server, certificate=self.stranger.client())
        self.assertIn("SUCCEEDED", self.cli(server.grpc, *self.cli_flags()))
        self.assertIn("SUCCEEDED", self.cli(server.grpc, JOBPOOL_TLS_CA=self.authority.cert))
        self.gets_through(server, options=[("grpc.ssl_target_name_override", "localhost")])

    def test_mutual_tls(self):
        server = self.server(*server_flags(self.own, self.authority))
        self.gets_through(server, certificate=self.friend)
        self.assertIn("SUCCEEDED", self.cli(server.grpc, *self.cli_flags(self.friend)))
        self.assertIn("SUCCEEDED", self.cli(
            server.grpc, JOBPOOL_TLS_CA=self.authority.cert, JOBPOOL_TLS_CERT=self.friend.cert,
            JOBPOOL_TLS_KEY=self.friend.key))

    def test_client_authorities_may_be_several_and_others_than_the_servers(self):
        both = self.authority.path("both.pem")
        with open(both, "wb") as file:
            file.write(read(self.stranger.cert) + read(self.authority.cert))
        server = self.server(*server_flags(self.own), f"--tls_client_ca={both}")
        self.gets_through(server, certificate=self.friend)
        self.gets_through(server, certificate=self.stranger.client())
        server = self.server(*server_flags(self.own, self.stranger))
        self.gets_through(server, certificate=self.stranger.client())
        self.refused(self.channel(server.grpc, self.friend), "Socket closed|reset")

    def test_buf_curl(self):
        if not BUF:
            self.fail("no buf: set JOBPOOL_BUF, or install it in the project's node_modules")
        server = self.server(*server_flags(self.own, self.authority))

        def call(*certificate):
            command = [BUF, "curl", "--protocol", "grpc", "--cacert", self.authority.cert, *certificate,
                       "-d", '{"job": {"noop": {}}}', f"https://{server.grpc}/jobpool.v1.JobService/RunJob"]
            return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd="/", check=False)

        done = call("--cert", self.friend.cert, "--key", self.friend.key)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('"SUCCEEDED"', done.stdout)
        with self.logs(server, "peer did not return a certificate"):
            self.assertNotEqual(call().returncode, 0)

    def test_refused_clients_are_told_and_logged(self):
        server = self.server(*server_flags(self.own, self.authority))
        distrusted, absent = "certificate verify failed", "peer did not return a certificate"
        for certificate, logged in ((self.authority.expired(), distrusted), (self.stranger.client(), distrusted),
                                    (None, absent)):
            with self.subTest(certificate and certificate.cert):
                with self.logs(server, f"(?m)^.* warning grpc: Handshake failed .*{logged}"):
                    self.refused(self.channel(server.grpc, certificate), "Socket closed|reset|Broken pipe")
                with self.logs(server, f"(?m)^.* warning grpc: Handshake failed .*{logged}"):
                    self.cli(server.grpc, *self.cli_flags(certificate), status=5,
                             pattern="may want a client certificate, or another one")
        self.gets_through(server, certificate=self.friend)
        self.assertEqual(server.metrics().sum("grpc_server_started_total", grpc_method="RunJob"), 1)

    def test_clients_refuse_an_expired_server(self):
        server = self.server(*server_flags(self.authority.expired()))
        self.assertRegex(server.log(), r"(?m) warning .*\.pem: the certificate expired at ")
        self.refused(self.channel(server.grpc), "certificate verify failed")
        self.cli(server.grpc, *self.cli_flags(), status=5, pattern="certificate verify failed .*expired")

    def test_clients_refuse_the_wrong_authority_and_name(self):
        server = self.server(*server_flags(self.own))
        self.refused(self.channel(server.grpc, authority=self.stranger), "certificate verify failed")
        self.cli(server.grpc, *self.cli_flags(authority=self.stranger), status=5,
                 pattern="certificate verify failed .*authority")
        self.cli(server.grpc, "--tls_ca=/etc/ssl/certs/ca-certificates.crt"
                 if os.path.exists("/etc/ssl/certs/ca-certificates.crt") else f"--tls_ca={self.stranger.cert}",
                 status=5, pattern="certificate verify failed")
        self.refused(self.channel(server.grpc, options=[("grpc.ssl_target_name_override", "other.example")]),
                     "other.example")
        listen = "--grpc_listen=127.0.0.2:0"  # loopback, and not in the certificate
        server = self.server(listen, *server_flags(self.own))
        self.refused(self.channel(server.grpc), "127.0.0.2 is not in peer certificate")
        self.cli(server.grpc, *self.cli_flags(), status=5, pattern="127.0.0.2 is not in peer certificate")

    def test_plain_and_tls_do_not_mix_and_do_not_hang(self):
        server = self.server(*server_flags(self.own))
        with self.logs(server, "warning grpc: Handshake failed .*wrong version number"):
            self.refused(self.client(server, connect=False).channel, "Socket closed|reset")
        self.cli(server.grpc, status=5, pattern="may want TLS")
        self.gets_through(server)
        plain = self.server()
        self.refused(self.channel(plain.grpc), "wrong version number")
        self.cli(plain.grpc, *self.cli_flags(), status=5, pattern="the server seems to serve without TLS")
        self.assertEqual(self.client(plain).run(noop_job()).state, Job.SUCCEEDED)

    def test_versions_below_1_2_are_refused(self):
        server = self.server(*server_flags(self.own))
        for version, served in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True),
                                (ssl.TLSVersion.TLSv1_3, True)):
            context = ssl.create_default_context(cafile=self.authority.cert)
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.set_alpn_protocols(["h2"])
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
            with socket.create_connection(server.grpc.split(":"), timeout=PATIENCE) as connection:
                try:
                    with context.wrap_socket(connection, server_hostname="localhost") as tls:
                        self.assertTrue(served, tls.version())
                except (ssl.SSLError, ConnectionResetError) as error:
                    self.assertFalse(served, error)

    def test_a_connection_that_says_nothing_holds_nobody_up(self):
        server = self.server(*server_flags(self.own))
        for start in (b"", b"\x16\x03\x01"):
            connection = socket.create_connection(server.grpc.split(":"), timeout=PATIENCE)
            self.addCleanup(connection.close)
            connection.sendall(start)
        self.gets_through(server)


class Addresses(TlsTest):
    def start(self, *flags):
        return subprocess.run([f"{BIN}/jobpoold", *flags], capture_output=True, text=True, timeout=10 * SLOW,
                              stdin=subprocess.DEVNULL, check=False)

    def test_off_loopback_only_with_tls_or_when_told(self):
        for others in ("0.0.0.0:0", "[::]:0"):
            done = self.start(f"--grpc_listen={others}", FREE[1])
            self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
            self.assertRegex(done.stderr, r"\Ajobpoold: --grpc_listen: [^\n]*--tls_cert[^\n]*--insecure[^\n]*\n\Z")
        # HTTP's TLS, or its flag, are not gRPC's.
        done = self.start("--grpc_listen=0.0.0.0:0", FREE[1], f"--http_tls_cert={self.own.cert}",
                          f"--http_tls_key={self.own.key}", "--http_insecure")
        self.assertEqual(done.returncode, 2, done.stderr)
        server = self.server("--grpc_listen=0.0.0.0:0", *server_flags(self.own))
        server.grpc = server.grpc.replace("0.0.0.0", "127.0.0.1")
        self.gets_through(server)
        server = self.server("--grpc_listen=0.0.0.0:0", "--insecure")
        server.grpc = server.grpc.replace("0.0.0.0", "127.0.0.1")
        self.assertEqual(self.client(server).run(noop_job()).state, Job.SUCCEEDED)

    def test_unix_socket(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        address = f"unix:{folder}/socket"
        server, client = self.both(f"--grpc_listen={address}")
        self.assertEqual(server.grpc, address)
        self.assertEqual(client.run(noop_job()).state, Job.SUCCEEDED)
        self.assertIn("SUCCEEDED", self.cli(address))
        done = self.start(f"--grpc_listen={address}", FREE[1])
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertRegex(done.stderr, rf"\Ajobpoold: [^\n]*{re.escape(folder)}/socket[^\n]*another server[^\n]*\n\Z")
        self.assertIn("SUCCEEDED", self.cli(address))

    def test_unix_socket_over_tls(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        server = self.server(f"--grpc_listen=unix:{folder}/socket", *server_flags(self.own, self.authority))
        self.gets_through(server, certificate=self.friend, options=[("grpc.ssl_target_name_override", "localhost")])


class FaultyFiles(TlsTest):
    def refuses(self, *flags, word):
        """With one line that has `word`; --validate_config says the same."""
        with self.subTest(word):
            said = []
            for validate in ((), ("--validate_config",)):
                done = subprocess.run([f"{BIN}/jobpoold", *FREE, *flags, *validate], capture_output=True, text=True,
                                      timeout=10 * SLOW, stdin=subprocess.DEVNULL, check=False)
                self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                self.assertRegex(done.stderr, r"\Ajobpoold: [^\n]+\n\Z")
                self.assertIn(word, done.stderr)
                said.append(done.stderr)
            self.assertEqual(said[0], said[1])

    def test_they_are_named(self):
        other, protected = self.authority.server(), self.authority.protected()
        cert, key = server_flags(self.own)
        missing, text = self.authority.path("missing"), self.authority.path("text")
        with open(text, "w", encoding="ascii") as file:
            file.write("text")
        damaged = self.authority.path("damaged")
        with open(damaged, "wb") as file:
            file.write(read(self.own.cert).replace(b"M", b"*"))
        self.refuses(cert, word="--tls_cert needs --tls_key")
        self.refuses(key, word="--tls_key needs --tls_cert")
        self.refuses(f"--tls_client_ca={self.authority.cert}", word="--tls_client_ca needs --tls_cert")
        self.refuses(f"--tls_cert={missing}", key, word=f"{missing}: No such file or directory")
        self.refuses(cert, f"--tls_key={missing}", word=f"{missing}: No such file or directory")
        self.refuses(cert, key, f"--tls_client_ca={missing}", word=f"{missing}: No such file or directory")
        self.refuses(f"--tls_cert={text}", key, word=f"{text}: holds no certificate")
        self.refuses(f"--tls_cert={damaged}", key, word=f"{damaged}: certificate 1 is damaged")
        self.refuses(cert, f"--tls_key={text}", word=f"{text}: holds no intact private key")
        self.refuses(cert, key, f"--tls_client_ca={text}", word=f"{text}: holds no certificate")
        self.refuses(cert, f"--tls_key={other.key}", word=f"{other.key}: is not the private key of the certificate")
        self.refuses(*server_flags(protected), word=f"{protected.key}: the private key is protected by a password")
        self.refuses(f"--tls_cert={os.path.dirname(text)}", key, word="not a regular file")
        chain = self.authority.path("chain")
        with open(chain, "wb") as file:
            file.write(read(self.own.cert) + read(self.stranger.cert))
        self.refuses(f"--tls_cert={chain}", key, word=f"{chain}: certificate 2 did not issue certificate 1")

    def test_validate_config_starts_nothing(self):
        server = self.server(*server_flags(self.own))  # whose ports are taken: who listened would fail
        done = subprocess.run([f"{BIN}/jobpoold", "--validate_config", f"--grpc_listen={server.grpc}",
                               f"--http_listen={server.http}", *server_flags(self.own, self.authority)],
                              capture_output=True, text=True, timeout=10 * SLOW, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "valid\n", ""))


class Replaced(TlsTest):
    """Certificates that are replaced while the server runs. It looks at them once a second, and on SIGHUP."""

    CLIENTS = 4

    def in_place(self):
        """Copies to write over."""
        path = tempfile.mkdtemp(dir=self.authority.folder)
        paths = os.path.join(path, "cert.pem"), os.path.join(path, "key.pem")
        self.put(paths, self.own)
        return paths

    @staticmethod
    def put(paths, certificate):
        for path, content in zip(paths, certificate.pem()):
            replace(path, content)

    def serve(self, paths, *flags):
        return self.server(f"--tls_cert={paths[0]}", f"--tls_key={paths[1]}", *flags)

    def taken_over(self, server, certificate):
        der = ssl.PEM_cert_to_DER_cert(read(certificate.cert).decode())
        eventually(lambda: shown(server.grpc) == der, what=f"{certificate.cert} is shown")

    def expiry(self, certificate):
        out = subprocess.run(["openssl", "x509", "-noout", "-enddate", "-in", certificate.cert], check=True,
                             capture_output=True, text=True, timeout=60).stdout
        return ssl.cert_time_to_seconds(out.strip().partition("=")[2])

    def test_new_connections_see_it_and_old_ones_go_on(self):
        paths = self.in_place()
        server = self.serve(paths)
        old = self.channel(server.grpc)
        self.run_noop(old)
        connected = self.connections(server)
        self.assertEqual(len(connected), 1)
        self.assertEqual(server.metrics().sum(EXPIRY, listener="grpc"), self.expiry(self.own))
        successor = self.authority.server(days=5)  # longer, so that the metric tells
        self.put(paths, successor)
        self.taken_over(server, successor)
        self.assertEqual(server.metrics().sum(EXPIRY, listener="grpc"), self.expiry(successor))
        self.assertGreater(self.expiry(successor), self.expiry(self.own))
        self.assertRegex(server.log(), rf"(?m) info certificate read again listener=grpc file={re.escape(paths[0])} expires=\S+$")
        self.assertEqual(self.run_noop(old).state, Job.SUCCEEDED)
        self.assertLessEqual(connected, self.connections(server))  # by the connection it has had
        self.gets_through(server)

    @staticmethod
    def connections(server):
        """Addresses of clients that are connected (proc(5), /proc/net/tcp)."""
        port = f":{int(server.grpc.rsplit(':', 1)[1]):04X}"
        rows = [line.split() for table in ("tcp", "tcp6") for line in read(f"/proc/net/{table}").decode().splitlines()]
        return {row[1] for row in rows if row[2].endswith(port) and row[3] == "01"}

    def test_client_authority_too(self):
        paths = self.in_place()
        client_ca = paths[0] + ".ca"
        replace(client_ca, read(self.authority.cert))
        server = self.serve(paths, f"--tls_client_ca={client_ca}")
        strange = self.stranger.client()
        self.refused(self.channel(server.grpc, strange), "Socket closed|reset|Broken pipe")
        with self.logs(server, "info certificate read again"):
            replace(client_ca, read(self.stranger.cert))
        self.gets_through(server, certificate=strange)
        self.refused(self.channel(server.grpc, self.friend), "Socket closed|reset|Broken pipe")

    def test_a_faulty_file_is_told_once_and_the_old_stays(self):
        paths = self.in_place()
        server = self.serve(paths)
        with self.logs(server, rf'error certificate refused error="grpc: {re.escape(paths[0])}: holds no certificate'):
            replace(paths[0], b"broken")
        self.gets_through(server)
        with self.logs(server, rf'error certificate refused error="grpc: {re.escape(paths[0])}: No such file'):
            os.unlink(paths[0])
            server.signal(signal.SIGHUP)
        self.gets_through(server)
        successor = self.authority.server()
        replace(paths[1], read(successor.key))
        replace(paths[0], read(self.own.cert))
        server.signal(signal.SIGHUP)
        mismatch = rf'error certificate refused error="grpc: {re.escape(paths[1])}: is not the private key'
        eventually(lambda: re.search(mismatch, server.log()), what=mismatch)
        self.gets_through(server)
        replace(paths[0], read(successor.cert))
        server.signal(signal.SIGHUP)
        self.taken_over(server, successor)
        self.assertEqual(server.log().count('error="grpc: ' + paths[0] + ": holds no certificate"), 1)

    def test_under_load_no_call_fails(self):
        paths = self.in_place()
        server = self.serve(paths)
        kept = [self.channel(server.grpc) for _ in range(2)]
        numbers = [0] * (self.CLIENTS + len(kept))
        faults, done = [], threading.Event()

        def call(number, channel):
            try:
                while not done.is_set():
                    if channel is not None:
                        job = self.run_noop(channel)
                    else:  # a new connection, and so a handshake, each time
                        pem = grpc.ssl_channel_credentials(read(self.authority.cert))
                        with grpc.secure_channel(server.grpc, pem, [("grpc.use_local_subchannel_pool", 1),
                                                                    ("grpc.enable_http_proxy", 0)]) as another:
                            job = self.run_noop(another)
                    assert job.state == Job.SUCCEEDED, job
                    numbers[number] += 1
            except BaseException as error:  # whatever it is, it is told
                faults.append(error)

        callers = [threading.Thread(target=call, args=(i, channel))
                   for i, channel in enumerate([*[None] * self.CLIENTS, *kept])]
        for caller in callers:
            caller.start()
        try:
            certificates = [self.authority.server(days=days) for days in (3, 4, 5)]  # which the metric tells apart
            for round_, certificate in zip(range(6), itertools.cycle(certificates)):
                if round_ % 3 == 0:
                    self.put(paths, certificate)
                else:  # the certificate first, or the key first, each in two pieces, with calls in between
                    order = 1 if round_ % 3 == 1 else -1
                    for path, content in list(zip(paths, certificate.pem()))[::order]:
                        with open(path, "wb") as file, self.logs(server, "error certificate refused"):
                            file.write(content[:len(content) // 2])
                            file.flush()
                            server.signal(signal.SIGHUP)
                        self.advance(numbers, faults)
                        with open(path, "ab") as file:
                            file.write(content[len(content) // 2:])
                        if path == paths[::order][0]:  # a pair that does not fit is not taken over
                            with self.logs(server, "error certificate refused .* is not the private key of"):
                                server.signal(signal.SIGHUP)
                            self.assertEqual(server.metrics().sum(EXPIRY, listener="grpc"), self.expiry(shown_now))
                        self.advance(numbers, faults)
                server.signal(signal.SIGHUP)
                self.taken_over(server, certificate)
                shown_now = certificate
                self.advance(numbers, faults)
        finally:
            done.set()
            for caller in callers:
                caller.join(2 * PATIENCE)
        self.assertEqual(faults, [])
        self.assertEqual(server.metrics().sum(EXPIRY, listener="grpc"), self.expiry(certificate))

    def advance(self, numbers, faults):
        """All have got on since."""
        before = list(numbers)
        eventually(lambda: faults or all(now > was for now, was in zip(numbers, before)), what="all call on")
        self.assertEqual(faults, [])
