"""What the end-to-end tests share: a server of one's own, a client for it, and
ways to wait for what must come true.

Environment: JOBPOOL_BIN, the folder of the built programs; JOBPOOL_SLOW=1 where
they are slow (sanitizers); JOBPOOL_BUF, the `buf` program (test_calls); JOBPOOL_LOST_WRITES
and JOBPOOL_BAD_DISK, the libraries made of tests/support/lost_writes.c and bad_disk.c.
"""
import atexit
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from jobpool.v1 import error_reason_pb2, job_pb2, job_service_pb2 as js, job_service_pb2_grpc
from jobpool.v1 import pool_service_pb2_grpc, thread_service_pb2 as ts, thread_service_pb2_grpc

BIN = os.environ["JOBPOOL_BIN"]
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
SLOW = 10 if os.environ.get("JOBPOOL_SLOW") == "1" else 1
# For what must come sooner or later: so long that only what never comes misses it.
PATIENCE = 30 * SLOW
ENDED = (job_pb2.Job.SUCCEEDED, job_pb2.Job.FAILED, job_pb2.Job.CANCELLED)
# What each server gets that does not say something else.
STORE = "--store=sqlite"
SANITIZER = re.compile(r"(ERROR|WARNING): \w+Sanitizer|runtime error: ")

# Whoever starts a server without Server does not come to the user's own state folder.
os.environ["STATE_DIRECTORY"] = tempfile.mkdtemp(prefix="jobpool-state-")
atexit.register(shutil.rmtree, os.environ["STATE_DIRECTORY"], ignore_errors=True)


def eventually(condition, deadline=PATIENCE, what="", poll=0.02):
    """The first true value of `condition()`; fails when there is none in time."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what or condition}; last: {value!r}")
        time.sleep(poll)


def library_to_preload(name, folder):
    """The path of the library made of tests/support/NAME.c; where there is none, it is made in `folder`."""
    path = os.environ.get(f"JOBPOOL_{name.upper()}")
    if not path:
        path = os.path.join(folder, f"lib{name}.so")
        subprocess.run(["cc", "-std=c11", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-o", path,
                        f"{ROOT}/tests/support/{name}.c"], check=True)
    return path


def seconds(number):
    """A google.protobuf.Duration."""
    nanos = round(number * 1e9)
    return duration_pb2.Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)


def sleep_job(number, **fields):
    return job_pb2.Job(sleep=job_pb2.Sleep(duration=seconds(number)), **fields)


def spin_job(number, **fields):
    return job_pb2.Job(compute={"spin": {"cpu_time": seconds(number)}}, **fields)


def noop_job(payload=b"", **fields):
    return job_pb2.Job(noop={"payload": payload}, **fields)


def unix_time(timestamp):
    return timestamp.seconds + timestamp.nanos / 1e9


def processes_below(pid):
    """What has come of the process `pid` and is there still: name and state by pid. Z is the state of a zombie."""
    children, found = {}, {}
    for child in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{child}/stat", encoding="utf-8", errors="replace") as stat:
                begin, _, rest = stat.read().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        state, parent = rest.split()[:2]
        children.setdefault(int(parent), []).append((int(child), (begin.partition("(")[2], state)))
    parents = [pid]
    while parents:
        for child, what in children.get(parents.pop(), []):
            found[child] = what
            parents.append(child)
    return found


class Server:
    """A running jobpoold on free ports of 127.0.0.1, with a store that goes with it unless the flags name a
    --state_dir. `finish` must be called, or `killed`."""

    def __init__(self, *flags, drain_timeout="0s", env=None, program=f"{BIN}/jobpoold"):
        self._log = tempfile.TemporaryFile()
        self._state = tempfile.TemporaryDirectory(prefix="jobpool-state-")
        listen = [f"{flag}=127.0.0.1:0" for flag in ("--grpc_listen", "--http_listen")
                  if not any(f.startswith(flag) for f in flags)]
        store = [flag for flag in (STORE, f"--state_dir={self._state.name}")
                 if not any(f.startswith(flag.partition("=")[0]) for f in flags)]
        self.process = subprocess.Popen(
            [program, *listen, *store, f"--drain_timeout={drain_timeout}", *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._log, env={**os.environ, **(env or {})})
        try:
            serving = eventually(self._serving, what="the server serves")
        except BaseException:
            self.process.kill()
            self.process.wait()
            self._close()
            raise
        self.pid = self.process.pid
        self.grpc, self.http, self.echo = serving.groups()  # echo: None where it is off

    def _serving(self):
        if self.process.poll() is not None:
            raise AssertionError(f"exit status {self.process.returncode}\n{self.log()}")
        return re.search(r'(?: info |"message":")serving grpc=(\S+) http=(\S+)(?: echo=(\S+))? version=[^\s"]+',
                         self.log())

    def log(self):
        with open(f"/proc/self/fd/{self._log.fileno()}", encoding="utf-8", errors="replace") as log:
            return log.read()

    def _close(self):
        self._log.close()
        self._state.cleanup()

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, deadline=PATIENCE):
        """Its exit status."""
        try:
            return self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not end within {deadline} s\n{self.log()[-4000:]}") from None

    def kill(self):
        self.signal(signal.SIGKILL)
        self.killed()

    def killed(self):
        """Waits until a SIGKILL has ended it; fails if it ended otherwise, or said before that memory is at fault."""
        status = self.wait()
        log = self.log()
        self._close()
        if status != -signal.SIGKILL or SANITIZER.search(log):
            raise AssertionError(f"the server ended with exit status {status}\n{log[-20000:]}")

    def finish(self):
        """Ends it if it has not ended; fails unless it ended as it should. Does nothing if that was looked at before."""
        if self._log.closed:
            return
        if self.process.poll() is None:
            self.signal()
        status = self.wait()
        log = self.log()
        self._close()
        if status != 0 or SANITIZER.search(log):
            raise AssertionError(f"the server ended with exit status {status}\n{log[-20000:]}")

    def get(self, path, timeout=PATIENCE):
        """Status and body of a GET at the HTTP port."""
        try:
            with _http.open(f"http://{self.http}{path}", timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metrics(self):
        status, body = self.get("/metrics")
        assert status == 200, f"/metrics answers {status}"
        return Metrics(body)

    def descriptors(self):
        """How many it has open, but those of its store: connections to that are opened as they are needed, and kept."""
        return len(self._open_files()) - self.store_descriptors()

    def store_descriptors(self):
        return sum("/jobs.db" in file for file in self._open_files())

    def _open_files(self):
        folder, files = f"/proc/{self.pid}/fd", []
        for descriptor in os.listdir(folder):
            try:
                files.append(os.readlink(f"{folder}/{descriptor}"))
            except FileNotFoundError:
                pass  # closed meanwhile
        return files

    def native_name(self, os_thread_id):
        with open(f"/proc/{self.pid}/task/{os_thread_id}/comm", "rb") as comm:
            return comm.read().rstrip(b"\n").decode()


_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Metrics:
    """One scrape, taken apart."""

    _SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
    _LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

    def __init__(self, text):
        self.text = text
        self.samples = []  # (name, labels, value)
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, labels, value = self._SAMPLE.match(line).groups()
                self.samples.append((name, dict(self._LABEL.findall(labels or "")), float(value)))

    def sum(self, name, **labels):
        values = [value for n, has, value in self.samples if n == name and labels.items() <= has.items()]
        assert values, f"no series {name} {labels}"
        return sum(values)


class Client:
    """Stubs on a connection of their own."""

    def __init__(self, address, options=(), connect=True):
        self.channel = grpc.insecure_channel(
            address, [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0), *options])
        # A first try can fail for no good reason (gRPC 1.51 looks at errno too late: ENOENT was seen); gRPC tries again.
        if connect:
            grpc.channel_ready_future(self.channel).result(timeout=PATIENCE)
        self.jobs = job_service_pb2_grpc.JobServiceStub(self.channel)
        self.threads = thread_service_pb2_grpc.ThreadServiceStub(self.channel)
        self.pools = pool_service_pb2_grpc.PoolServiceStub(self.channel)

    def close(self):
        self.channel.close()

    def submit(self, job, **fields):
        return self.jobs.SubmitJob(js.SubmitJobRequest(job=job, **fields), timeout=PATIENCE)

    def run(self, job, timeout=PATIENCE, **fields):
        return self.jobs.RunJob(js.RunJobRequest(job=job, **fields), timeout=timeout)

    def get(self, name):
        return self.jobs.GetJob(js.GetJobRequest(name=name), timeout=PATIENCE)

    def cancel(self, name):
        return self.jobs.CancelJob(js.CancelJobRequest(name=name), timeout=PATIENCE)

    def wait(self, names, call_timeout=2 * PATIENCE, **fields):
        return self.jobs.WaitJobs(js.WaitJobsRequest(names=names, **fields), timeout=call_timeout)

    def join(self, name):
        """The ended job."""
        answer = self.wait([name])
        assert not answer.timed_out, answer
        return answer.jobs[0]

    def running(self, name):
        """The job, once it is RUNNING."""
        return eventually(lambda: (job := self.get(name)).state == job_pb2.Job.RUNNING and job,
                          what=f"{name} runs")

    def list_threads(self, **fields):
        return self.threads.ListThreads(ts.ListThreadsRequest(**fields), timeout=PATIENCE)

    def workers(self, pool):
        return [t for t in self.list_threads().threads if t.pool == f"pools/{pool}"]

    def active_count(self):
        return self.threads.GetActiveCount(ts.GetActiveCountRequest(), timeout=PATIENCE)

    def health(self, service=""):
        """grpc.health.v1.Health/Check: SERVING is 1, NOT_SERVING 2. By hand: Debian has no stubs for it."""
        name = service.encode()
        check = self.channel.unary_unary("/grpc.health.v1.Health/Check")
        answer = check(b"\x0a" + bytes([len(name)]) + name if name else b"", timeout=PATIENCE)
        return answer[1] if answer else 0


class E2eTest(unittest.TestCase):
    """Starts servers and clients that end with the test."""

    maxDiff = None

    def server(self, *flags, **options):
        server = Server(*flags, **options)
        self.addCleanup(server.finish)
        return server

    def client(self, server, options=(), connect=True):
        client = Client(server.grpc, options, connect)
        self.addCleanup(client.close)
        return client

    def both(self, *flags, **options):
        server = self.server(*flags, **options)
        return server, self.client(server)

    def config_flag(self, text):
        """The flag for a config file that says so, and goes with the test."""
        file = tempfile.NamedTemporaryFile("w", suffix=".txtpb")
        self.addCleanup(file.close)
        file.write(text)
        file.flush()
        return f"--config={file.name}"

    def fails(self, code, call, *args, **kwargs):
        """The error of a call that must fail with `code` and our details."""
        with self.assertRaises(grpc.RpcError) as caught:
            call(*args, **kwargs)
        error = Error(caught.exception)
        self.assertEqual(error.code, code, error.message)
        error.check(self)
        return error


class SharedServerTest(E2eTest):
    """One server, `shared`, and one client of it, `c`, for all tests of the class."""

    @classmethod
    def setUpClass(cls):
        cls.shared = Server()
        cls.addClassCleanup(cls.shared.finish)
        cls.c = Client(cls.shared.grpc)
        cls.addClassCleanup(cls.c.close)


class Error:
    """A failed call with its details."""

    _BESIDE = {
        grpc.StatusCode.INVALID_ARGUMENT: ["BadRequest"],
        grpc.StatusCode.NOT_FOUND: ["ResourceInfo"],
        grpc.StatusCode.ALREADY_EXISTS: ["ResourceInfo"],
        grpc.StatusCode.FAILED_PRECONDITION: ["PreconditionFailure"],
        grpc.StatusCode.RESOURCE_EXHAUSTED: ["QuotaFailure", "RetryInfo"],
        grpc.StatusCode.UNAVAILABLE: ["RetryInfo"],
    }

    def __init__(self, rpc_error):
        self.code, self.message = rpc_error.code(), rpc_error.details()
        self.status = status_pb2.Status()
        self.details = {}
        for key, value in rpc_error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                self.status.ParseFromString(value)
        for packed in self.status.details:
            name = packed.type_url.rpartition(".")[2]
            detail = getattr(error_details_pb2, name)()
            assert packed.Unpack(detail), packed.type_url
            self.details.setdefault(name, []).append(detail)

    def check(self, test):
        """Holds it against the contract's table of errors."""
        test.assertEqual(self.status.code, self.code.value[0], self.message)
        test.assertEqual(self.status.message, self.message)
        infos = self.details.get("ErrorInfo", [])
        test.assertEqual(len(infos), 1, self.status)
        test.assertEqual(infos[0].domain, "jobpool")
        test.assertIn(infos[0].reason, error_reason_pb2.ErrorReason.keys())
        test.assertNotEqual(infos[0].reason, "ERROR_REASON_UNSPECIFIED")
        for name in self._BESIDE.get(self.code, []):
            test.assertEqual(len(self.details.get(name, [])), 1, self.status)

    @property
    def reason(self):
        return self.details["ErrorInfo"][0].reason

    @property
    def fields(self):
        """Paths of the violations."""
        return [v.field for bad in self.details.get("BadRequest", []) for v in bad.field_violations]


def job_reason(job):
    """The reason in a job's own error."""
    for packed in job.error.details:
        info = error_details_pb2.ErrorInfo()
        if packed.Unpack(info):
            return info.reason
    return ""
