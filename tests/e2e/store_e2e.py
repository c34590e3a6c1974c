"""What the tests of the durable store share: servers one after the other on one folder."""
import tempfile
import time

import grpc
from google.protobuf import timestamp_pb2
from jobpool.v1 import job_pb2, job_service_pb2 as js
from jobpool_e2e import PATIENCE, Client, E2eTest, Error, Server

Job = job_pb2.Job


def ahead(number):
    """The time in so many seconds."""
    nanos = time.time_ns() + round(number * 1e9)
    return timestamp_pb2.Timestamp(seconds=nanos // 10**9, nanos=nanos % 10**9)


class StoreTest(E2eTest):
    """Its servers keep their jobs in `state`."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="jobpool-store-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.state = f"{self.folder}/state"

    def start(self, *flags, **options):
        """A server on the folder, and a client of it."""
        server = Server(f"--state_dir={self.state}", *flags, **options)
        self.addCleanup(server.finish)
        client = Client(server.grpc)
        self.addCleanup(client.close)
        return server, client

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
