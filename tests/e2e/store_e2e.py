"""What the tests of the durable store share: servers one after the other on one folder."""
import os
import subprocess
import tempfile
import time

import grpc
from google.protobuf import timestamp_pb2
from jobpool.v1 import job_pb2, job_service_pb2 as js
from jobpool_e2e import BIN, PATIENCE, STORE, Client, E2eTest, Error, Server, library_to_preload

Job = job_pb2.Job


def ahead(number):
    """The time in so many seconds."""
    nanos = time.time_ns() + round(number * 1e9)
    return timestamp_pb2.Timestamp(seconds=nanos // 10**9, nanos=nanos % 10**9)


class DiskControl:
    """What is to happen to the files under `state`, of servers with the variables `env`."""

    def __init__(self, folder, state):
        self._control = f"{folder}/control"
        self.env = {"LD_PRELOAD": library_to_preload("bad_disk", folder), "BAD_DISK_DIR": os.path.realpath(state),
                    "BAD_DISK_CONTROL": self._control}

    def be(self, what):
        """As tests/support/bad_disk.c says."""
        with open(self._control + ".new", "w", encoding="ascii") as file:
            file.write(what)
        os.rename(self._control + ".new", self._control)


class StoreTest(E2eTest):
    """Its servers keep their jobs in `state`."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="jobpool-store-")
        self.addCleanup(folder.cleanup)
        self.folder = os.path.realpath(folder.name)
        self.state = f"{self.folder}/state"
        self.program = f"{BIN}/jobpoold"

    def start(self, *flags, **options):
        """A server on the folder, and a client of it."""
        server = Server(f"--state_dir={self.state}", *flags, **options)
        self.addCleanup(server.finish)
        client = Client(server.grpc)
        self.addCleanup(client.close)
        return server, client

    def cannot_start(self, word="", wrap=(), env=None):
        """A start that must fail with one line, which has `word`, and the folder."""
        done = subprocess.run([*wrap, self.program, "--grpc_listen=127.0.0.1:0", "--http_listen=127.0.0.1:0", STORE,
                               f"--state_dir={self.state}"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=PATIENCE, check=False, env={**os.environ, **(env or {})})
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertRegex(done.stderr, r"\Ajobpoold: [^\n]+\n\Z")
        self.assertIn(self.state, done.stderr)
        self.assertIn(word, done.stderr)

    def list_all(self, client, page_size=1000, **fields):
        """All jobs that are there, in the order of the list."""
        request, jobs = js.ListJobsRequest(page_size=page_size, **fields), []
        while True:
            answer = client.jobs.ListJobs(request, timeout=PATIENCE)
            self.assertLessEqual(len(answer.jobs), page_size)
            jobs += answer.jobs
            if not answer.next_page_token:
                return jobs
            request.page_token = answer.next_page_token

    def is_there(self, client, name):
        try:
            client.get(name)
            return True
        except grpc.RpcError as error:
            self.assertEqual(Error(error).reason, "JOB_NOT_FOUND")
            return False

    def refused(self, call, *args, **kwargs):
        """By a store that cannot write."""
        error = self.fails(grpc.StatusCode.UNAVAILABLE, call, *args, **kwargs)
        self.assertEqual(error.reason, "STORE_UNAVAILABLE")
