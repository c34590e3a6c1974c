"""A disk that is full, can only be read, or is slow: nothing is acknowledged that is not stored, what needs no disk goes
on, and all of it comes right by itself."""
import os
import statistics
import subprocess
import threading
import time
import unittest
import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc
from jobpool.v1 import job_pb2, job_service_pb2 as js, thread_pb2
from jobpool_e2e import PATIENCE, SLOW, eventually, noop_job, sleep_job
from store_e2e import DiskControl, StoreTest, ahead

Job, Thread = job_pb2.Job, thread_pb2.Thread
SERVING, NOT_SERVING = 1, 2
SIZE = 12 << 20  # of a disk
DELAY = 0.3  # of a slow one


class BadDisk(StoreTest):
    """What a server does whose disk turns bad and good again, whatever the reason."""

    def kept(self, client):
        """Jobs that are acknowledged while all is well; the first is scheduled, the second has ended."""
        names = [client.submit(noop_job(bytes(1000), schedule_time=ahead(3600))).name, client.run(noop_job()).name]
        return [client.get(name) for name in names]

    def turns_bad(self, turn, server, client):
        """And the server notices, at the latest with the next job."""
        turn()
        self.refused(client.submit, noop_job(), job_id="refused-first")
        eventually(lambda: client.health() == NOT_SERVING, what="health is NOT_SERVING")
        self.assertEqual((server.get("/readyz")[0], server.get("/healthz")[0]), (503, 200))
        metrics = server.metrics()
        self.assertEqual(metrics.sum("jobpool_store_writable"), 0)
        self.assertGreater(metrics.sum("jobpool_store_failures_total"), 0)
        self.assertRegex(server.log(), r" error the store cannot be written error=\"[^\n]+\"\n")

    def turns_good(self, turn, server, client):
        """And the server notices by itself."""
        turn()
        start = time.monotonic()
        eventually(lambda: client.health() == SERVING, what="it recovers")
        self.assertLess(time.monotonic() - start, 5 * SLOW)
        self.assertEqual(server.get("/readyz")[0], 200)
        self.assertEqual(server.metrics().sum("jobpool_store_writable"), 1)
        self.assertIn(" info the store can be written again\n", server.log())

    def refuses(self, client, known):
        """What has to be stored is not acknowledged; returns a request_id that is refused."""
        scheduled, ended = (job.name for job in known)
        request_id = str(uuid.uuid4())
        self.refused(client.submit, noop_job(), job_id="refused-submit", request_id=request_id)
        self.refused(client.run, noop_job(), job_id="refused-run")
        requests = [js.SubmitJobRequest(job=noop_job(durability=durability), job_id=f"refused-{durability}")
                    for durability in (Job.DISK, Job.MEMORY)]
        self.refused(client.jobs.BatchSubmitJobs, js.BatchSubmitJobsRequest(requests=requests), timeout=PATIENCE)
        self.refused(client.jobs.DeleteJob, js.DeleteJobRequest(name=ended), timeout=PATIENCE)
        self.refused(client.jobs.UpdateJob, js.UpdateJobRequest(
            job=Job(name=scheduled, display_name="not acknowledged"), update_mask={"paths": ["display_name"]}),
            timeout=PATIENCE)
        return request_id

    def goes_on(self, client, known):
        """What needs no disk, and what reads it."""
        self.assertEqual(client.run(noop_job(b"x", durability=Job.MEMORY)).result.noop.payload, b"x")
        name = client.submit(sleep_job(0.01, durability=Job.MEMORY)).name
        self.assertEqual(client.join(name).state, Job.SUCCEEDED)
        self.assertEqual([client.get(job.name).create_time for job in known], [job.create_time for job in known])
        self.assertLessEqual({job.name for job in known}, {job.name for job in self.list_all(client)})

    def is_idle(self, client):
        return all(thread.state == Thread.IDLE for thread in client.workers("blocking"))

    def holds(self, client, known):
        """Nothing that was acknowledged is lost, and nothing that was refused is there."""
        scheduled, ended = known
        self.assertEqual(str(client.get(ended.name)), str(ended))
        self.assertEqual(client.get(scheduled.name).state, Job.SCHEDULED)
        self.assertEqual([job.name for job in self.list_all(client) if job.name.startswith("jobs/refused")], [])
        for name in ("first", "submit", "run", Job.DISK, Job.MEMORY):
            self.assertFalse(self.is_there(client, f"jobs/refused-{name}"), name)

    def bad_for_a_while(self, bad, good, **options):
        server, client = self.start(**options)
        known = self.kept(client)
        run = client.jobs.RunJob.future(js.RunJobRequest(job=sleep_job(3 * SLOW), job_id="runs"), timeout=2 * PATIENCE)
        eventually(lambda: client.workers("blocking"), what="it runs")
        wait = client.jobs.WaitJobs.future(js.WaitJobsRequest(names=["jobs/runs"]), timeout=2 * PATIENCE)

        self.turns_bad(bad, server, client)
        request_id = self.refuses(client, known)
        self.goes_on(client, known)
        self.assertEqual(client.get("jobs/runs").state, Job.RUNNING)
        eventually(lambda: self.is_idle(client), what="its work is done")
        tries = server.metrics().sum("jobpool_store_failures_total")
        eventually(lambda: server.metrics().sum("jobpool_store_failures_total") >= tries + 2,
                   what="the server has tried to store its end")
        self.assertEqual((run.done(), wait.done(), client.get("jobs/runs").state), (False, False, Job.RUNNING))

        self.turns_good(good, server, client)
        self.assertEqual((run.result().state, wait.result().jobs[0].state), (Job.SUCCEEDED, Job.SUCCEEDED))
        self.holds(client, known)
        made = client.submit(noop_job(), request_id=request_id).name
        self.assertEqual(client.join(made).state, Job.SUCCEEDED)
        end = run.result()
        server.kill()

        server, client = self.start(**options)
        self.holds(client, known)
        self.assertEqual(str(client.get("jobs/runs")), str(end))
        self.assertEqual(client.submit(noop_job(), request_id=request_id).name, made)
        self.assertEqual({job.name for job in self.list_all(client)}, {*(job.name for job in known), end.name, made})

    def ends_while_it_is_bad(self, bad, good, end, **options):
        server, client = self.start(**options)
        known = self.kept(client)
        name = client.submit(sleep_job(600)).name
        client.running(name)
        self.turns_bad(bad, server, client)
        end(server)
        good()
        server, client = self.start(**options)
        self.holds(client, known)
        job = client.running(name)
        self.assertEqual(len(job.attempts), 2)


@unittest.skipUnless(os.geteuid() == 0, "only root may mount a small file system")
class Full(BadDisk):
    def setUp(self):
        super().setUp()
        self.disk = f"{self.folder}/disk"
        os.mkdir(self.disk)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", self.disk], capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            self.skipTest(f"no file system can be mounted here: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], check=True)
        self.state = f"{self.disk}/state"

    def fill(self):
        with open(f"{self.disk}/others", "ab", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass

    def free(self):
        os.unlink(f"{self.disk}/others")

    def test_for_a_while(self):
        self.bad_for_a_while(self.fill, self.free)

    def test_a_shutdown_meanwhile(self):
        self.ends_while_it_is_bad(self.fill, self.free, lambda server: server.finish())

    def test_a_crash_meanwhile(self):
        self.ends_while_it_is_bad(self.fill, self.free, lambda server: server.kill())

    def test_a_start_meanwhile(self):
        server, client = self.start()
        known = self.kept(client)
        server.kill()
        self.fill()
        server, client = self.start()  # it has what it needs
        self.turns_bad(lambda: None, server, client)
        self.goes_on(client, known)
        self.turns_good(self.free, server, client)
        self.holds(client, known)
        server.finish()
        self.fill()
        self.cannot_start()  # no room for the log
        self.free()
        _, client = self.start()
        self.holds(client, known)

    def test_that_the_server_has_filled_itself(self):
        """With jobs, until one is refused; deleting them is no way out, but room is."""
        server, client = self.start()
        names = []
        payload = os.urandom(100_000)
        while client.health() == SERVING:
            try:
                names.append(client.submit(noop_job(payload, schedule_time=ahead(3600))).name)
            except grpc.RpcError:  # looked at below
                break
            self.assertLess(len(names) * len(payload), SIZE)
        self.refused(client.submit, noop_job(payload), job_id="refused")
        subprocess.run(["mount", "-o", f"remount,size={2 * SIZE}", self.disk], check=True)
        eventually(lambda: client.health() == SERVING, what="it recovers")
        names.append(client.submit(noop_job(payload, schedule_time=ahead(3600))).name)
        server.kill()
        _, client = self.start()
        self.assertEqual(sorted(job.name for job in self.list_all(client)), sorted(names))


class Preloaded(BadDisk):
    def setUp(self):
        super().setUp()
        self.disk = DiskControl(self.folder, self.state)
        self.bad = {"env": self.disk.env}


class ReadOnly(Preloaded):
    def lock(self):
        self.disk.be("read-only")

    def unlock(self):
        self.disk.be("")

    def test_for_a_while(self):
        self.bad_for_a_while(self.lock, self.unlock, **self.bad)

    def test_a_shutdown_meanwhile(self):
        self.ends_while_it_is_bad(self.lock, self.unlock, lambda server: server.finish(), **self.bad)

    def test_a_crash_meanwhile(self):
        self.ends_while_it_is_bad(self.lock, self.unlock, lambda server: server.kill(), **self.bad)

    def test_a_start_meanwhile(self):
        server, client = self.start(**self.bad)
        known = self.kept(client)
        server.kill()
        self.lock()
        self.cannot_start(**self.bad)
        self.unlock()
        _, client = self.start(**self.bad)
        self.holds(client, known)


class SlowDisk(Preloaded):
    def test_only_who_needs_it_waits_for_it(self):
        server, client = self.start(**self.bad)
        live, ended = (job.name for job in self.kept(client))
        self.disk.be(f"slow {DELAY * 1000:.0f}")
        stored, done = [], threading.Event()

        def store():
            other = self.client(server)
            while not done.is_set():
                stored.append(self.seconds_of(lambda: other.submit(noop_job(schedule_time=ahead(3600)))))

        calls = {"GetJob of a live job": lambda: client.get(live), "GetJob of an ended one": lambda: client.get(ended),
                 "ListJobs": lambda: client.jobs.ListJobs(js.ListJobsRequest(), timeout=PATIENCE),
                 "RunJob in memory": lambda: client.run(noop_job(durability=Job.MEMORY)),
                 "SubmitJob in memory": lambda: client.submit(noop_job(durability=Job.MEMORY))}
        with ThreadPoolExecutor(1) as threads:
            storing = threads.submit(store)
            try:
                took = {what: statistics.median(self.seconds_of(call) for _ in range(50))
                        for what, call in calls.items()}
                eventually(lambda: len(stored) > 2 or storing.done())
            finally:
                done.set()
            storing.result()
        slowest = statistics.median(stored)
        print(f"\nwhile each fsync takes {DELAY * 1e3:.0f} ms, SubmitJob takes {slowest * 1e3:.0f} ms; "
              + ", ".join(f"{what} {seconds / slowest:.4f} of that" for what, seconds in took.items()))
        self.assertGreaterEqual(min(stored), DELAY)
        for what, seconds in took.items():
            self.assertLess(seconds, slowest / 3, what)
        self.assertEqual(client.health(), SERVING)

    def test_many_share_one_fsync(self):
        server, client = self.start(**self.bad)
        self.disk.be(f"slow {DELAY * 1000:.0f}")
        before = server.metrics().sum("jobpool_store_commit_duration_seconds_count")
        calls = 40
        start = time.monotonic()
        submits = [client.jobs.SubmitJob.future(js.SubmitJobRequest(job=noop_job(schedule_time=ahead(3600))),
                                                timeout=PATIENCE) for _ in range(calls)]
        names = [submit.result().name for submit in submits]
        took = time.monotonic() - start
        commits = server.metrics().sum("jobpool_store_commit_duration_seconds_count") - before
        print(f"\n{calls} SubmitJob at once took {commits:.0f} commits, {took / DELAY:.1f} times that of one fsync")
        self.assertGreaterEqual(took, DELAY)
        self.assertLess(commits, calls / 4)
        server.kill()
        self.disk.be("")
        _, client = self.start()
        self.assertEqual(sorted(job.name for job in self.list_all(client)), sorted(names))

    def seconds_of(self, call):
        start = time.monotonic()
        call()
        return time.monotonic() - start


if __name__ == "__main__":
    unittest.main()
