"""What the tests of jobs of isolation PROCESS share."""
import os
import re
import shutil
import tempfile

from jobpool.v1 import job_pb2, pool_service_pb2 as ps, thread_pb2
from jobpool_e2e import PATIENCE, SLOW, E2eTest, eventually, processes_below
from test_plugins import custom, flag

Job = job_pb2.Job
Thread = thread_pb2.Thread
FORK_SERVER = "jobpool-fork"
# Where memory is watched it cannot be bounded: a sanitizer takes terabytes of address space.
BOUNDED_MEMORY = SLOW == 1

CONFIG = """
pools { name: "blocking" max_threads: 8 idle_timeout { seconds: 600 } stop_grace { nanos: 100000000 } }
"""


def config(more="", limits="max_memory_bytes: 536870912", idle_timeout=600):
    return f"{CONFIG}processes {{ idle_timeout {{ seconds: {idle_timeout} }} limits {{ {limits} }} {more} }}\n"


def apart(kind, payload=b"", **fields):
    return custom(kind, payload, isolation=Job.PROCESS, **fields)


def blocking_pool(client):
    return client.pools.GetPool(ps.GetPoolRequest(name="pools/blocking"), timeout=PATIENCE)


class ProcessTest(E2eTest):
    def start(self, text=None, *flags, plugins=("crashes",), env=None, **options):
        """A server, and a client of it. The processes' folders are in `self.folders`."""
        self.folders = tempfile.mkdtemp(prefix="jobpool-folders-")
        self.addCleanup(shutil.rmtree, self.folders, ignore_errors=True)
        return self.both(*(flag(name) for name in plugins), self.config_flag(text or config()), *flags,
                         env={"TMPDIR": self.folders, **(env or {})}, **options)

    def succeeds(self, client, job):
        done = client.run(job)
        self.assertEqual(done.state, Job.SUCCEEDED, done.error)
        return done

    def text(self, client, job):
        return self.succeeds(client, job).result.custom.payload.decode()

    def workers(self, client):
        """The processes that roll call shows."""
        threads = client.list_threads().threads
        return [thread for thread in threads if thread.role == Thread.PROCESS_WORKER]

    def says(self, client, name, words=r".+"):
        """What a running job says of its progress, once it does."""
        def said():
            job = client.get(name)
            self.assertIn(job.state, (Job.QUEUED, Job.RUNNING), job.error)
            return re.fullmatch(words, job.progress.message) and job.progress.message
        return eventually(said, what=f"{name} says {words}")

    def pid_of(self, server, client, name):
        """The process of a running job."""
        def known():
            job = client.get(name)
            self.assertIn(job.state, (Job.QUEUED, Job.RUNNING), job.error)
            pid = job.attempts[-1].process_id if job.state == Job.RUNNING and job.attempts else 0
            return pid not in (0, server.pid) and pid
        return eventually(known, what=f"the process of {name} is known")

    def only_the_fork_server_is_left(self, server):
        eventually(lambda: [name for name, _ in processes_below(server.pid).values()] == [FORK_SERVER],
                   what="nothing but the fork server is left of all processes")

    def no_folder_is_left(self):
        eventually(lambda: not os.listdir(self.folders), what="no folder is left")
