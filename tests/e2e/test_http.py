"""HTTP as curl and scrapers meet it: keep-alive, HEAD, refusals, TLS, faulty certificates."""
import http.client
import os
import re
import socket
import ssl
import subprocess
import urllib.error
import urllib.request

from certificates import Authority, replace
from jobpool_e2e import BIN, PATIENCE, SLOW, E2eTest, Metrics, eventually

FREE = ("--grpc_listen=127.0.0.1:0", "--http_listen=127.0.0.1:0")


class Http(E2eTest):
    def connection(self, server):
        connection = http.client.HTTPConnection(server.http, timeout=PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def ask(self, connection, method, path, **options):
        connection.request(method, path, **options)
        answer = connection.getresponse()
        return answer, answer.read()

    def test_one_connection_serves_many_requests(self):
        connection = self.connection(self.server())
        connection.connect()
        port = connection.sock.getsockname()
        for method in ("GET", "HEAD") * 10:
            for path, status in (("/metrics", 200), ("/healthz", 200), ("/readyz", 200), ("/", 404)):
                answer, body = self.ask(connection, method, path)
                self.assertEqual((answer.status, bool(body)), (status, method == "GET"))
                if method == "HEAD":
                    self.assertGreater(int(answer.headers["Content-Length"]), 0)
        self.assertEqual(connection.sock.getsockname(), port)

    def test_other_methods_are_refused(self):
        connection = self.connection(self.server())
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer, _ = self.ask(connection, method, "/metrics", body=b"x" * 1000)
            self.assertEqual((answer.status, answer.headers["Allow"]), (405, "GET, HEAD"))
        self.assertEqual(self.ask(connection, "POST", "/metrics", body=b"x" * 65536)[0].status, 405)
        answer, _ = self.ask(connection, "POST", "/metrics", body=b"x" * 65537)
        self.assertEqual((answer.status, answer.headers["Connection"]), (413, "close"))

    def test_a_header_has_at_most_16_kib(self):
        server = self.server()
        for bytes_, status in ((16383, b"200"), (16384, b"200"), (16385, b"431")):
            with socket.create_connection(server.http.split(":"), timeout=PATIENCE) as connection:
                start = b"GET /healthz HTTP/1.1\r\nConnection: close\r\nX: "
                connection.sendall(start + b"x" * (bytes_ - len(start) - 4) + b"\r\n\r\n")
                answer = connection.makefile("rb").read()
                self.assertEqual(answer.split()[1], status, bytes_)

    def test_the_257th_connection_is_closed(self):
        server = self.server()
        held = []
        self.addCleanup(lambda: [connection.close() for connection in held])
        for _ in range(256):
            held.append(self.connection(server))
            self.assertEqual(self.ask(held[-1], "GET", "/healthz")[0].status, 200)
        with socket.create_connection(server.http.split(":"), timeout=PATIENCE) as another:
            self.assertEqual(another.recv(1), b"")
        held.pop().close()
        eventually(lambda: self.admitted(server), what="there is room for one")

    def admitted(self, server):
        with socket.create_connection(server.http.split(":"), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            try:
                return connection.recv(1) != b""
            except ConnectionResetError:
                return False

    def test_ipv6(self):
        server = self.server("--http_listen=[::1]:0")
        self.assertTrue(server.http.startswith("[::1]:"))
        self.assertEqual(server.get("/healthz")[0], 200)


class Tls(E2eTest):
    @classmethod
    def setUpClass(cls):
        cls.authority, cls.stranger = Authority(), Authority("a stranger")
        cls.addClassCleanup(cls.authority.close)
        cls.addClassCleanup(cls.stranger.close)

    def flags(self, certificate):
        return f"--http_tls_cert={certificate.cert}", f"--http_tls_key={certificate.key}"

    def get(self, server, path, authority=None):
        """Status and body, by urllib, which checks certificate and name."""
        trust = ssl.create_default_context(cafile=(authority or self.authority).cert)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
        try:
            with opener.open(f"https://{server.http}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def test_pages_over_tls(self):
        server, client = self.both(*self.flags(self.authority.server()))
        self.assertEqual(self.get(server, "/healthz"), (200, "ok\n"))
        self.assertEqual(self.get(server, "/readyz"), (200, "ok\n"))
        self.assertEqual(self.get(server, "/nope")[0], 404)
        self.assertIn("jobpool_build_info", self.get(server, "/metrics")[1])
        self.assertEqual(client.health(), 1)  # gRPC goes on without

    def test_who_does_not_trust_it_is_told_so(self):
        server = self.server(*self.flags(self.authority.server()))
        with self.assertRaisesRegex(urllib.error.URLError, "CERTIFICATE_VERIFY_FAILED"):
            self.get(server, "/healthz", authority=self.stranger)
        self.assertEqual(self.get(server, "/healthz")[0], 200)

    def test_an_expired_certificate_is_served_with_a_warning(self):
        server = self.server(*self.flags(self.authority.expired()))
        self.assertRegex(server.log(), re.compile(r" warning .*\.pem: the certificate expired at ", re.M))
        with self.assertRaisesRegex(urllib.error.URLError, "certificate has expired"):
            self.get(server, "/healthz")

    def test_versions_below_1_2_are_refused(self):
        server = self.server(*self.flags(self.authority.server()))
        for version, served in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True),
                                (ssl.TLSVersion.TLSv1_3, True)):
            context = ssl.create_default_context(cafile=self.authority.cert)
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
            with socket.create_connection(server.http.split(":"), timeout=PATIENCE) as connection:
                try:
                    with context.wrap_socket(connection, server_hostname="localhost") as tls:
                        self.assertTrue(served, tls.version())
                except ssl.SSLError as error:
                    self.assertFalse(served, error)

    def test_http_without_tls_is_not_answered_and_does_not_hang(self):
        server = self.server(*self.flags(self.authority.server()))
        with socket.create_connection(server.http.split(":"), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
            try:
                self.assertNotIn(b"HTTP", connection.makefile("rb").read())
            except ConnectionResetError:
                pass
        self.assertEqual(self.get(server, "/healthz")[0], 200)

    def test_it_may_listen_off_loopback(self):
        server = self.server("--http_listen=0.0.0.0:0", *self.flags(self.authority.server()))
        server.http = server.http.replace("0.0.0.0", "127.0.0.1")
        self.assertEqual(self.get(server, "/healthz")[0], 200)

    def test_a_certificate_that_is_replaced_is_shown_and_its_end_told(self):
        first, second = self.authority.server(), self.authority.server(days=5)
        server = self.server(*self.flags(first))
        host, port = server.http.split(":")

        def told():
            samples = Metrics(self.get(server, "/metrics")[1])
            self.assertFalse([labels for name, labels, _ in samples.samples if labels.get("listener") == "grpc"])
            return samples.sum("jobpool_tls_certificate_expiry_timestamp_seconds", listener="http")
        before, shown = told(), ssl.get_server_certificate((host, int(port)), timeout=PATIENCE)
        for path, content in zip((first.cert, first.key), second.pem()):
            replace(path, content)
        eventually(lambda: ssl.get_server_certificate((host, int(port)), timeout=PATIENCE) != shown,
                   what="another certificate is shown")
        self.assertAlmostEqual(told() - before, 3 * 86400, delta=120)

    def refuses(self, *flags, word):
        with self.subTest(word):
            done = subprocess.run([f"{BIN}/jobpoold", *FREE, *flags], capture_output=True, text=True,
                                  timeout=10 * SLOW, stdin=subprocess.DEVNULL, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
            self.assertRegex(done.stderr, r"\Ajobpoold: [^\n]+\n\Z")  # one line
            self.assertIn(word, done.stderr)

    def test_faulty_files_are_named(self):
        good, other, protected = self.authority.server(), self.authority.server(), self.authority.protected()
        cert, key = self.flags(good)
        missing, text = self.authority.path("missing"), self.authority.path("text")
        with open(text, "w", encoding="ascii") as file:
            file.write("text")
        self.refuses(cert, word="--http_tls_cert needs --http_tls_key")
        self.refuses(key, word="--http_tls_key needs --http_tls_cert")
        self.refuses(f"--http_tls_cert={missing}", key, word=f"{missing}: No such file or directory")
        self.refuses(cert, f"--http_tls_key={missing}", word=f"{missing}: No such file or directory")
        self.refuses(f"--http_tls_cert={text}", key, word=f"{text}: holds no certificate")
        self.refuses(cert, f"--http_tls_key={text}", word=f"{text}: holds no intact private key")
        self.refuses(cert, self.flags(other)[1], word=f"{other.key}: is not the private key of the certificate")
        self.refuses(*self.flags(protected), word=f"{protected.key}: the private key is protected by a password")
        self.refuses(f"--http_tls_cert={os.path.dirname(text)}", key, word="not a regular file")

    def test_curl_reads_it(self):
        server = self.server(*self.flags(self.authority.server()))
        done = subprocess.run(["curl", "-sS", "--noproxy", "*", "--cacert", self.authority.cert,
                               f"https://{server.http}/healthz"], capture_output=True, text=True, timeout=PATIENCE,
                              check=False)
        self.assertEqual((done.returncode, done.stdout), (0, "ok\n"), done.stderr)
