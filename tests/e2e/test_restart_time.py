"""How long a server takes to serve again whose store holds many queued jobs, after a crash and after a shutdown.

JOBPOOL_RESTART_JOBS, how many; scripts/restart_bench runs it with a million. Prints the times and asserts none."""
import json
import os
import time
import unittest

from jobpool.v1 import job_pb2, job_service_pb2 as js
from jobpool_e2e import PATIENCE, SLOW, eventually, noop_job
from store_e2e import StoreTest

JOBS = int(os.environ.get("JOBPOOL_RESTART_JOBS") or (100_000 if SLOW == 1 else 10_000))
BATCH = 10_000
# One job starts in 1,000 s: the others are queued, also after a restart.
CONFIG = 'pools { name: "held" max_threads: 1 max_starts_per_second: 0.001 max_queued_jobs: 10000000 }'


def report(name, how, took):
    """A row for scripts/bench_report, as tests/bench/report.h writes them."""
    path = os.environ.get("JOBPOOL_BENCH_ROWS")
    if path is None:
        return
    row = {"name": name, "what": f"a start with {JOBS:,} queued jobs in the store, after {how}", "against": "", "unit": "s",
           "runs": 1, "median": took, "min": took, "max": took, "target": {"at_most": 3, "must": False}}
    with open(path, "a", encoding="utf-8") as rows:
        rows.write(json.dumps(row) + "\n")


class RestartTime(StoreTest):
    def submit_all(self, client):
        """One request, sent as often as it takes; the answers are not looked into."""
        job = noop_job(pool="pools/held")
        call = client.channel.unary_unary("/jobpool.v1.JobService/BatchSubmitJobs")
        for left in range(JOBS, 0, -BATCH):
            requests = [js.SubmitJobRequest(job=job)] * min(left, BATCH)
            call(js.BatchSubmitJobsRequest(requests=requests).SerializeToString(), timeout=2 * PATIENCE)

    def queued(self, server):
        return server.metrics().sum("jobpool_jobs", pool="held", state="queued")

    def test_restart(self):
        config = self.config_flag(CONFIG)
        server, client = self.start(config)
        start = time.monotonic()
        self.submit_all(client)
        print(f"\n{JOBS:,} jobs submitted in {time.monotonic() - start:.1f} s")
        end = client.submit(noop_job(pool="pools/held"), job_id="the-last")
        for how, stop, row in (("SIGKILL", lambda: server.kill(), "restart"),
                               ("SIGTERM", lambda: server.finish(), "restart_after_end")):
            before = self.queued(server)
            self.assertGreater(before, JOBS - 2)
            stop()
            megabytes = sum(os.path.getsize(f"{self.state}/{name}") for name in os.listdir(self.state)) / 1e6
            start = time.monotonic()
            server, client = self.start(config)
            eventually(lambda: server.get("/readyz")[0] == 200, poll=0.005)
            took = time.monotonic() - start
            report(row, how, took)
            self.assertLessEqual(abs(self.queued(server) - before), 1)  # one may have started
            self.assertEqual(client.get(end.name).state, job_pb2.Job.QUEUED)
            metrics = server.metrics()
            rss, cpu = (metrics.sum(f"process_{what}") for what in ("resident_memory_bytes", "cpu_seconds_total"))
            print(f"after {how}: serves {took:.2f} s after its start ({cpu:.2f} s of CPU) with {before:,.0f} queued jobs "
                  f"in {megabytes:,.0f} MB of files; {rss / 1e6:,.0f} MB resident, {rss / before:,.0f} bytes a job")


if __name__ == "__main__":
    unittest.main()
