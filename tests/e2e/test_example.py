"""The example client of the documentation does what it says."""
import os
import subprocess
import sys

from jobpool.v1 import job_service_pb2 as js
from jobpool_e2e import PATIENCE, ROOT, E2eTest

EXAMPLE = os.path.join(ROOT, "examples", "python", "client.py")


class Example(E2eTest):
    def run_example(self, *args):
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        return subprocess.run([sys.executable, EXAMPLE, *args], env=env, capture_output=True, text=True,
                              timeout=PATIENCE, check=False)

    def test_python_client(self):
        server, client = self.both()
        done = self.run_example(server.grpc)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = done.stdout.splitlines()
        (job,) = client.jobs.ListJobs(js.ListJobsRequest()).jobs
        self.assertEqual(lines[:2], [f"submitted {job.name} ({job.display_name})", "primes up to 1000000: 78498"])
        threads = client.list_threads().threads
        self.assertEqual([line.split()[0] for line in lines[2:-1]], [t.name for t in threads])
        self.assertEqual(lines[2], f"{threads[0].name}  MainThread  MAIN")
        self.assertEqual(lines[-1], f"active threads: {len(threads)}")

    def test_without_a_server_it_fails(self):
        self.assertNotEqual(self.run_example("127.0.0.1:1").returncode, 0)
