"""A copy of the store beside the server that uses it, the server that starts from it, and what the metrics tell."""
import os
import subprocess
import unittest

from jobpool.v1 import job_pb2, job_service_pb2 as js
from jobpool_e2e import PATIENCE, noop_job
from store_e2e import StoreTest, ahead

Job = job_pb2.Job


class Backup(StoreTest):
    def setUp(self):
        super().setUp()
        self.copy = f"{self.folder}/copy.db"

    def back_up(self, *flags, to=None, status=0, word=""):
        """Runs the program; what it printed."""
        done = subprocess.run([self.program, f"--backup_to={self.copy if to is None else to}",
                               f"--state_dir={self.state}", *flags], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        if status:
            self.assertEqual(done.stdout, "")
            self.assertRegex(done.stderr, r"\Ajobpoold: [^\n]+\n\Z")
            self.assertIn(word, done.stderr)
        return done.stdout

    def test_a_server_starts_from_a_copy_made_beside_another(self):
        server, client = self.start()
        for i in range(20):
            client.run(noop_job(b"%d" % i), job_id=f"ended-{i}")
        for i in range(10):
            client.submit(noop_job(schedule_time=ahead(3600)), job_id=f"live-{i}")
        self.assertRegex(self.back_up(), rf"\A{self.copy}: \d+ bytes, 10 live and 20 ended jobs\n\Z")
        client.run(noop_job(), job_id="later")
        self.back_up(status=2, word="there is a file")
        server.finish()
        self.assertEqual(os.stat(self.copy).st_mode & 0o777, 0o600)
        for name in os.listdir(self.state):
            os.remove(f"{self.state}/{name}")
        os.rename(self.copy, f"{self.state}/jobs.db")
        _, client = self.start()
        ids = [f"ended-{i}" for i in range(20)] + [f"live-{i}" for i in range(10)]
        self.assertEqual(sorted(job.name for job in self.list_all(client)), sorted(f"jobs/{i}" for i in ids))
        self.assertEqual(client.get("jobs/ended-7").result.noop.payload, b"7")
        self.assertEqual(client.get("jobs/live-7").state, Job.SCHEDULED)

    def test_what_it_refuses(self):
        self.back_up(status=2, word="there is no file")
        self.start()
        self.back_up(to="", status=2, word="--backup_to: the value is missing")
        self.back_up("--store=memory", status=2, word="--store=memory")
        self.back_up(to=f"{self.folder}/none/copy.db", status=1, word="none/")
        self.assertEqual(os.listdir(self.folder), ["state"])

    def test_metrics_tell_what_the_file_holds(self):
        server, client = self.start()
        for i in range(5):
            client.run(noop_job(bytes(100_000)), job_id=f"ended-{i}")
        for i in range(3):
            client.submit(noop_job(schedule_time=ahead(3600)), job_id=f"live-{i}")

        def jobs():
            metrics = server.metrics()
            return [metrics.sum("jobpool_store_jobs", state=state) for state in ("live", "ended")]

        self.assertEqual(jobs(), [3, 5])
        metrics = server.metrics()
        self.assertGreater(metrics.sum("jobpool_store_file_bytes"), 500_000)
        self.assertGreater(metrics.sum("jobpool_store_wal_bytes"), 500_000)
        self.assertEqual(metrics.sum("jobpool_store_damaged"), 0)
        for i in range(5):
            client.jobs.DeleteJob(js.DeleteJobRequest(name=f"jobs/ended-{i}"), timeout=PATIENCE)
        self.assertEqual(jobs(), [3, 0])
        self.assertGreater(server.metrics().sum("jobpool_store_free_bytes"), 400_000)


if __name__ == "__main__":
    unittest.main()
