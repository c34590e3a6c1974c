"""Every call as the contract writes it: with Debian's grpcio, and as a stranger would, through
reflection (buf curl, in JSON)."""
import json
import os
import subprocess

import grpc
from google.protobuf import field_mask_pb2, json_format
from jobpool.v1 import job_pb2, job_service_pb2 as js, pool_service_pb2 as ps, thread_pb2, thread_service_pb2 as ts
from jobpool_e2e import PATIENCE, ROOT, SharedServerTest, eventually, noop_job, sleep_job, unix_time

Job = job_pb2.Job
BUF = next((path for path in (os.environ.get("JOBPOOL_BUF"), f"{ROOT}/node_modules/.bin/buf",
                              "/tmp/buf/node_modules/.bin/buf") if path and os.access(path, os.X_OK)), None)


def parse(text, message):
    return json_format.Parse(text, message)


class Grpcio(SharedServerTest):
    def test_run_sleep(self):
        job = self.c.jobs.RunJob(parse('{"job": {"sleep": {"duration": "0.2s"}}}', js.RunJobRequest()))
        self.assertEqual((job.state, job.alive, job.pool), (Job.SUCCEEDED, False, "pools/blocking"))
        self.assertGreaterEqual(job.result.sleep.slept.ToTimedelta().total_seconds(), 0.2)
        self.assertRegex(job.name, r"\Ajobs/[a-z][a-z0-9-]*\Z")
        self.assertRegex(job.display_name, r"\AJob-\d+\Z")
        self.assertEqual(job.retention.seconds, 24 * 3600)
        times = [unix_time(t) for t in (job.create_time, job.start_time, job.end_time, job.expire_time)]
        self.assertEqual(times, sorted(times))
        self.assertAlmostEqual(times[3] - times[2], 24 * 3600, places=3)
        self.assertFalse(job.HasField("error"))
        (attempt,) = job.attempts
        self.assertEqual((attempt.number, attempt.start_time), (1, job.start_time))
        self.assertTrue(attempt.HasField("usage") and attempt.HasField("end_time"))
        self.assertEqual(job, self.c.get(job.name))

    def test_submit_primes_and_wait(self):
        job = self.c.jobs.SubmitJob(parse(
            '{"job": {"compute": {"primes": {"limit": 1000000}}, "display_name": "count", "labels": {"team": "a"}}}',
            js.SubmitJobRequest()))
        self.assertEqual((job.display_name, job.pool, dict(job.labels)), ("count", "pools/compute", {"team": "a"}))
        answer = self.c.jobs.WaitJobs(parse(
            '{"names": ["%s"], "mode": "ALL", "timeout": "60s"}' % job.name, js.WaitJobsRequest()))
        self.assertFalse(answer.timed_out)
        self.assertEqual(answer.jobs[0].result.compute.primes.count, 78498)
        self.assertEqual(answer.jobs[0].progress.ratio, 1)

    def test_ids_are_in_the_order_of_creation(self):
        names = [self.c.submit(noop_job()).name for _ in range(100)]
        self.assertEqual(names, sorted(names))
        self.assertEqual(len(set(names)), 100)
        self.assertEqual(self.c.submit(noop_job(), job_id="my-own").name, "jobs/my-own")

    def test_update_cancel_delete(self):
        name = self.c.submit(sleep_job(600, labels={"a": "1"})).name
        job = self.c.jobs.UpdateJob(js.UpdateJobRequest(job={"name": name, "display_name": "x", "labels": {"b": "2"}}))
        self.assertEqual((job.display_name, dict(job.labels)), ("x", {"b": "2"}))
        mask = field_mask_pb2.FieldMask(paths=["display_name"])  # so labels stay
        job = self.c.jobs.UpdateJob(js.UpdateJobRequest(
            job={"name": name, "display_name": "y", "labels": {"c": "3"}}, update_mask=mask))
        self.assertEqual((job.display_name, dict(job.labels)), ("y", {"b": "2"}))
        self.c.running(name)
        self.assertEqual([t.job_display_name for t in self.c.workers("blocking") if t.job == name], ["y"])
        self.assertEqual(self.c.cancel(name).name, name)
        self.assertEqual(self.c.join(name).state, Job.CANCELLED)
        self.c.jobs.DeleteJob(js.DeleteJobRequest(name=name))
        self.fails(grpc.StatusCode.NOT_FOUND, self.c.get, name)
        self.fails(grpc.StatusCode.NOT_FOUND, self.c.wait, [name])

    def test_retention_ends(self):
        name = self.c.run(noop_job(retention={"seconds": 1})).name

        def forgotten():
            try:
                self.c.get(name)
            except grpc.RpcError as error:
                return error.code() == grpc.StatusCode.NOT_FOUND
        eventually(forgotten, what="the job expires")
        self.assertNotIn(name, [job.name for job in self.c.jobs.ListJobs(js.ListJobsRequest()).jobs])

    def test_list_jobs_pages_neither_skip_nor_repeat(self):
        stay = [self.c.run(noop_job(b"payload")).name for _ in range(60)]
        self.assertEqual(len(self.c.jobs.ListJobs(js.ListJobsRequest()).jobs), 50)
        listed, token = [], ""
        while True:
            page = self.c.jobs.ListJobs(js.ListJobsRequest(page_size=7, page_token=token))
            self.assertLessEqual(len(page.jobs), 7)
            listed += page.jobs
            self.c.run(noop_job())  # new ones come and shift nothing
            if token == "" and page.jobs[-1].name in stay:  # nor does the end of the one that the page ended with
                self.c.jobs.DeleteJob(js.DeleteJobRequest(name=page.jobs[-1].name))
            token = page.next_page_token
            if not token:
                break
        names = [job.name for job in listed]
        self.assertEqual([n for n in names if n in set(stay)], stay[::-1])
        self.assertEqual(len(names), len(set(names)))
        self.assertFalse(any(j.HasField("result") or j.noop.payload for j in listed))
        times = [unix_time(job.create_time) for job in listed]
        self.assertEqual(times, sorted(times, reverse=True))

    def test_answers_stay_below_3_mib(self):
        names = [self.c.run(noop_job(bytes(1 << 20))).name for _ in range(4)]
        answer = self.c.wait(names)
        self.assertEqual([(j.name, j.state) for j in answer.jobs], [(n, Job.SUCCEEDED) for n in names])
        self.assertLess(answer.ByteSize(), 3 << 20)
        self.assertEqual(len(self.c.get(names[0]).result.noop.payload), 1 << 20)
        # 10,000 jobs of 4 KiB each without their results: names and states are left.
        wide = [self.c.run(noop_job(labels={f"k{i}": "é" * 63 for i in range(32)})).name for _ in range(4)]
        answer = self.c.wait(wide * 2500)
        self.assertEqual([(j.name, j.state) for j in answer.jobs], [(n, Job.SUCCEEDED) for n in wide * 2500])
        self.assertLess(answer.ByteSize(), 3 << 20)

    def test_threads_and_pools(self):
        threads = self.c.list_threads()
        count = self.c.active_count()
        if count.snapshot_version == threads.snapshot_version:
            self.assertEqual(count.counts_by_role, threads.counts_by_role)
        self.assertEqual(self.c.threads.GetThread(ts.GetThreadRequest(name=threads.threads[0].name)).role,
                         thread_pb2.Thread.MAIN)
        pages, token = [], ""
        while True:
            page = self.c.list_threads(page_size=2, page_token=token)
            pages += page.threads
            token = page.next_page_token
            if not token:
                break
        self.assertEqual([t.name for t in pages if t.role == thread_pb2.Thread.MAIN], [threads.threads[0].name])
        self.assertEqual(len(pages), page.total_size)
        pools = {p.name: p for p in self.c.pools.ListPools(ps.ListPoolsRequest()).pools}
        self.assertEqual(list(pools), ["pools/blocking", "pools/compute"])
        blocking, compute = pools.values()
        self.assertEqual((blocking.min_threads, blocking.max_threads, blocking.idle_timeout.seconds), (0, 256, 10))
        self.assertEqual(compute.min_threads, compute.max_threads)
        self.assertEqual(compute.threads, compute.max_threads)
        self.assertLessEqual(compute.max_threads, len(os.sched_getaffinity(0)))
        self.assertEqual(self.c.pools.GetPool(ps.GetPoolRequest(name="pools/compute")).name, compute.name)

    def test_health(self):
        for service in ("", "jobpool.v1.JobService", "jobpool.v1.ThreadService", "jobpool.v1.PoolService",
                        "jobpool.v1.EchoService"):
            self.assertEqual(self.c.health(service), 1)
        self.fails(grpc.StatusCode.NOT_FOUND, self.c.health, "nope")


class BufCurl(SharedServerTest):
    def setUp(self):
        if BUF is None:
            self.fail("no buf: set JOBPOOL_BUF, or install it in the project's node_modules")

    def buf(self, *args):
        done = subprocess.run([BUF, "curl", "--http2-prior-knowledge", "--protocol", "grpc", *args], check=False,
                              capture_output=True, text=True, timeout=PATIENCE, cwd="/")
        self.assertEqual(done.returncode, 0, f"{args}\n{done.stdout}{done.stderr}")
        return done.stdout

    def call(self, method, request=None):
        package = "" if "." in method else "jobpool.v1."
        return json.loads(self.buf("-d", json.dumps(request or {}), f"http://{self.shared.grpc}/{package}{method}"))

    def test_services_are_listed(self):
        services = self.buf("--list-services", f"http://{self.shared.grpc}").split()
        for service in ("jobpool.v1.JobService", "jobpool.v1.ThreadService", "jobpool.v1.PoolService",
                        "jobpool.v1.EchoService", "grpc.health.v1.Health"):
            self.assertIn(service, services)

    def test_calls_in_json_without_a_schema(self):
        self.assertEqual(self.call("grpc.health.v1.Health/Check"), {"status": "SERVING"})
        job = self.call("JobService/RunJob", {"job": {"sleep": {"duration": "0.1s"}}})
        self.assertEqual((job["state"], job["pool"]), ("SUCCEEDED", "pools/blocking"))
        self.assertRegex(job["result"]["sleep"]["slept"], r"\A0\.1\d*s\Z")
        name = self.call("JobService/SubmitJob", {"job": {"sleep": {"duration": "600s"}}})["name"]
        answer = self.call("JobService/WaitJobs", {"names": [name, job["name"]], "mode": "ANY"})
        self.assertEqual(([j["name"] for j in answer["jobs"]], answer["timedOut"]), ([name, job["name"]], False))
        answer = self.call("JobService/UpdateJob", {"job": {"name": name, "display_name": "x"},
                                                    "update_mask": "displayName"})
        self.assertEqual(answer["displayName"], "x")
        self.assertEqual(self.call("JobService/CancelJob", {"name": name})["name"], name)
        self.assertIn(name, [j["name"] for j in self.call("JobService/ListJobs", {"page_size": 50})["jobs"]])
        threads = self.call("ThreadService/ListThreads")
        self.assertEqual((threads["threads"][0]["displayName"], threads["countsByRole"]["MAIN"]), ("MainThread", 1))
        self.assertEqual(len(threads["threads"]), threads["totalSize"])
        self.assertRegex(threads["snapshotVersion"], r"\A\d+\Z")
        self.assertGreater(self.call("ThreadService/GetActiveCount")["activeCount"], 1)
        current = self.call("ThreadService/GetCurrentThread")
        self.assertEqual(current["role"], "SERVICE")
        renamed = self.call("ThreadService/UpdateThread", {
            "thread": {"name": current["name"], "display_name": "monitor"}, "update_mask": "displayName"})
        self.assertEqual((renamed["name"], renamed["nativeName"]), (current["name"], "monitor"))
        self.assertEqual(self.call("EchoService/UppercaseText", {"text": "hello"}), {"text": "HELLO"})
        self.assertEqual(self.call("PoolService/GetPool", {"name": "pools/compute"})["maxQueuedJobs"], "1000000")
