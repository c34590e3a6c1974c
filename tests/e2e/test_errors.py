"""docs/errors.md, row by row: its table of errors through reflection (buf curl), as a stranger would call,
and what gRPC itself refuses with Debian's grpcio."""
import base64
import json
import os
import re
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2
from jobpool.v1 import echo_service_pb2, echo_service_pb2_grpc, error_reason_pb2, job_service_pb2 as js, pool_service_pb2 as ps
from jobpool_e2e import PATIENCE, ROOT, Client, E2eTest, Error, eventually, noop_job, sleep_job
from store_e2e import DiskControl
from test_calls import BUF

NOT_SERVING = 2
MIB = 1 << 20
CODES = {code.name: code for code in grpc.StatusCode}
BESIDE = {"INVALID_ARGUMENT": {"BadRequest"}, "NOT_FOUND": {"ResourceInfo"}, "ALREADY_EXISTS": {"ResourceInfo"},
          "FAILED_PRECONDITION": {"PreconditionFailure"}, "RESOURCE_EXHAUSTED": {"QuotaFailure", "RetryInfo"},
          "UNAVAILABLE": {"RetryInfo"}, "ABORTED": set(), "OUT_OF_RANGE": set()}
STEP = re.compile(r"`(?P<method>\w+/\w+)` `(?P<request>\{.*\})`|`--config` with `(?P<config>.*)`"
                  r"|`(?P<flag>--[^`]*)`|(?P<disk>a disk that can only be read)|`(?P<runs>jobs/\S+)` runs"
                  r"|(?P<open>[\d,]+) open calls of `EchoService/UppercaseText`|SIGTERM")


def read_doc():
    with open(f"{ROOT}/docs/errors.md", encoding="utf-8") as doc:
        return doc.read()


def table(first_line):
    """The rows of the table that begins so, each by the heads of its columns."""
    _, found, rest = read_doc().partition(first_line + "\n")
    assert found, f"no table {first_line}"
    heads = [cell.strip() for cell in first_line.strip("|").split("|")]
    rows = []
    for line in rest.splitlines()[1:]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == len(heads), line
        rows.append(dict(zip(heads, cells)))
    return rows


ROWS = table("| what happens | given | call | request | code | reason | beside `ErrorInfo` |")
REFUSED_BY_GRPC = table("| what happens | code |")


def quoted(cell):
    return re.findall(r"`([^`]*)`", cell)


def with_bytes(request):
    return re.sub(r"<(\d+) bytes>", lambda size: base64.b64encode(bytes(int(size[1]))).decode(), request)


def prepare(client, method, request):
    """One of the calls that come before: they do what they should."""
    service, call = method.split("/")
    stub, messages = {"JobService": (client.jobs, js), "PoolService": (client.pools, ps)}[service]
    getattr(stub, call)(json_format.Parse(with_bytes(request), getattr(messages, call + "Request")()), timeout=PATIENCE)


def buf_curl(server, row):
    """Exit status, and the JSON that it prints: the answer, or the error."""
    method = quoted(row["call"])[0]
    package = "" if "." in method else "jobpool.v1."
    done = subprocess.run([BUF, "curl", "--http2-prior-knowledge", "--protocol", "grpc", "-d", "@-",
                           f"http://{server.grpc}/{package}{method}"], input=with_bytes(quoted(row["request"])[0]),
                          check=False, capture_output=True, text=True, timeout=PATIENCE, cwd="/")
    try:
        return done.returncode, json.loads(done.stdout if done.returncode == 0 else done.stderr)
    except json.JSONDecodeError:
        raise AssertionError(f"{row}\n{done.stdout}{done.stderr}") from None


def unpack(error):
    """The details that buf curl prints, by the names of their types."""
    details = {}
    for packed in error["details"]:
        name = packed["type"].removeprefix("google.rpc.")
        value = packed["value"]
        message = getattr(error_details_pb2, name).FromString(base64.b64decode(value + "=" * (-len(value) % 4)))
        assert name not in details, error
        details[name] = message
    return details


class Table(E2eTest):
    def setUp(self):
        if BUF is None:
            self.fail("no buf: set JOBPOOL_BUF, or install it in the project's node_modules")

    def check(self, row, done):
        exit_status, printed = done
        code = quoted(row["code"])[0]
        self.assertEqual(exit_status, 8 * CODES[code].value[0], printed)  # buf's exit status: 8 times the code
        if code == "OK":
            self.assertEqual(printed["name"], quoted(row["beside `ErrorInfo`"])[0])
            return
        self.assertEqual(printed["code"], code.lower())
        details = unpack(printed)
        info = details.pop("ErrorInfo")
        self.assertEqual((info.domain, [info.reason]), ("jobpool", quoted(row["reason"])), printed)
        shown = [f"`{kind}`{of}" for kind, of in sorted((kind, self.shown(kind, detail))
                                                        for kind, detail in details.items())]
        self.assertEqual("; ".join(shown), row["beside `ErrorInfo`"])
        self.assertEqual(set(details), BESIDE[code])

    def shown(self, kind, detail):
        """A detail as the table writes it."""
        if kind == "BadRequest":
            self.assertTrue(all(violation.description for violation in detail.field_violations))
            return ": " + ", ".join(f"`{violation.field}`" for violation in detail.field_violations)
        if kind == "ResourceInfo":
            self.assertTrue(detail.resource_type)
            return f": `{detail.resource_name}`"
        if kind == "RetryInfo":
            self.assertGreater(detail.retry_delay.ToTimedelta().total_seconds(), 0)
            return ""
        (violation,) = detail.violations
        self.assertTrue(violation.description)
        return f": `{violation.type}` of `{violation.subject}`" if kind == "PreconditionFailure" else (
            f": `{violation.subject}`")

    def test_rows_of_the_plain_server(self):
        server, client = self.both()
        block = re.search(r"^```\n(JobService/.*?)^```", read_doc(), re.M | re.S)[1]
        for line in block.splitlines():
            prepare(client, *line.split(maxsplit=1))
        client.running("jobs/asleep")
        rows = [row for row in ROWS if not row["given"]]
        with ThreadPoolExecutor(2) as pool:
            for row, done in zip(rows, pool.map(lambda row: buf_curl(server, row), rows)):
                with self.subTest(row):
                    self.check(row, done)
        self.assertEqual(server.metrics().sum("grpc_server_handled_total", grpc_code="Internal"), 0)

    def test_rows_with_a_server_of_their_own(self):
        given = {}
        for row in ROWS:
            if row["given"]:
                given.setdefault(row["given"], []).append(row)
        for steps, rows in given.items():
            with self.subTest(steps):
                server = self.prepared(steps)
                for row in rows:
                    self.check(row, buf_curl(server, row))

    def prepared(self, given):
        server = client = None
        for text in given.split("; "):
            step = STEP.fullmatch(text)
            self.assertTrue(step, f"not understood: {text}")
            if step["config"]:
                server, client = self.both(self.config_flag(step["config"]))
                continue
            if step["flag"]:
                server, client = self.both(step["flag"])
                continue
            if step["disk"]:
                server = self.on_a_disk_that_can_only_be_read()
                continue
            if server is None:
                server, client = self.both(drain_timeout="300s")  # ended by a second signal
            if step["method"]:
                prepare(client, step["method"], step["request"])
            elif step["runs"]:
                client.running(step["runs"])
            elif step["open"]:
                self.open_echoes(client, int(step["open"].replace(",", "")))
            else:
                server.signal()
        if "SIGTERM" in given:
            eventually(lambda: client.health() == NOT_SERVING, what="it shuts down")
        return server

    def on_a_disk_that_can_only_be_read(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        disk = DiskControl(folder.name, f"{folder.name}/state")
        server = self.server(f"--state_dir={folder.name}/state", env=disk.env)
        disk.be("read-only")
        return server

    def open_echoes(self, client, count):
        uppercase = echo_service_pb2_grpc.EchoServiceStub(client.channel).UppercaseText
        end = threading.Event()
        self.addCleanup(end.set)

        def one_word():
            yield echo_service_pb2.UppercaseTextRequest(text="a")
            end.wait()

        calls = [uppercase(one_word()) for _ in range(count)]
        self.addCleanup(calls.clear)  # a call that nobody holds is cancelled
        self.assertEqual({next(call).text for call in calls}, {"A"})

    def test_every_reason_of_a_call_has_a_row(self):
        with open(f"{ROOT}/proto/jobpool/v1/error_reason.proto", encoding="utf-8") as proto:
            of_calls = re.search(r"// Of calls\.(.*)// Of jobs\.", proto.read(), re.S)[1]
        reasons = set(re.findall(r"^  ([A-Z_]+) = \d+;", of_calls, re.M))
        self.assertLess(reasons, set(error_reason_pb2.ErrorReason.keys()))
        rows = {reason for row in ROWS for reason in quoted(row["reason"])}
        # Nobody sees the first, test_watch.py the second, test_store_file.py the third.
        self.assertEqual(rows, reasons - {"CALL_CANCELLED", "WATCH_TOO_SLOW", "STORE_DAMAGED"})

    def test_the_example_is_what_is_said(self):
        _, client = self.both()
        example = re.search(r"^```json\n(.*?)^```", read_doc(), re.M | re.S)[1]
        error = self.fails(grpc.StatusCode.INVALID_ARGUMENT, client.submit, sleep_job(-1))
        self.assertEqual(json_format.MessageToDict(error.status), json.loads(example))


class RefusedByGrpc(E2eTest):
    def provoke(self):
        """What happens, as the table calls it, and calls to which it does."""
        server, client = self.both()
        nobody = Client("127.0.0.1:1", connect=False)
        self.addCleanup(nobody.close)
        stranger = self.client(server)  # whose connection gRPC may close
        tls = grpc.secure_channel(server.grpc, grpc.ssl_channel_credentials(), [("grpc.enable_http_proxy", 0)])
        self.addCleanup(tls.close)
        compressed = noop_job(bytes(1000))

        def raw(data, path="/jobpool.v1.JobService/SubmitJob", channel=client.channel, **options):
            return lambda: channel.unary_unary(path)(data, timeout=PATIENCE, **options)

        def cancelled():
            call = client.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=PATIENCE)
            next(call)
            call.cancel()
            next(call)

        yield "a message of more than 16 MiB (`--max_message_bytes`)", [raw(bytes(16 * MIB + 1))]
        yield "metadata of more than 8 KiB", [
            raw(b"", channel=stranger.channel, metadata=[(f"x-{i}", "y" * 100) for i in range(100)])]
        yield "a compressed message", [lambda: client.jobs.SubmitJob(
            js.SubmitJobRequest(job=compressed), timeout=PATIENCE, compression=grpc.Compression.Gzip)]
        yield "bytes that are no such message, or text that is no UTF-8", [
            raw(b"\x0a\x7fx"), raw(b"\x0a\x01\xff", "/jobpool.v1.JobService/GetJob")]
        yield "no such method or service", [raw(b"", "/jobpool.v1.JobService/Nope"),
                                            raw(b"", "/jobpool.v1.Nope/GetJob")]
        yield "the caller's deadline has passed", [lambda: client.run(sleep_job(600), timeout=0.2)]
        yield "the caller has cancelled the call", [cancelled]
        yield "nobody listens, or TLS does not come about", [lambda: nobody.run(noop_job()), raw(b"", channel=tls)]
        eventually(lambda: server.metrics().sum("jobpool_jobs") == 0, what="the job of the caller who left has ended")

    def test_rows(self):
        provoked = {}
        for what, calls in self.provoke():
            for call in calls:
                with self.subTest(what), self.assertRaises(grpc.RpcError) as caught:
                    call()
                error = Error(caught.exception)
                self.assertEqual(error.details, {}, what)
                provoked.setdefault(what, set()).add(error.code.name)
        self.assertEqual(provoked, {row["what happens"]: set(quoted(row["code"])) for row in REFUSED_BY_GRPC})
