"""Requests that must be refused: each with its code, the path of its field and the details, and the
values just inside the bounds, which must not be."""
import grpc
from google.protobuf import duration_pb2, field_mask_pb2
from jobpool.v1 import job_pb2, job_service_pb2 as js, pool_service_pb2 as ps, thread_service_pb2 as ts
from jobpool_e2e import PATIENCE, SharedServerTest, noop_job, sleep_job

Job, Duration, Mask = job_pb2.Job, duration_pb2.Duration, field_mask_pb2.FieldMask
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
DAY = 24 * 3600
MIB = 1 << 20


def bad_durations(max_seconds):
    """Everything that is no duration from 0 to so many seconds."""
    return [Duration(seconds=-1), Duration(nanos=-1), Duration(seconds=max_seconds, nanos=1),
            Duration(seconds=max_seconds + 1), Duration(seconds=10**18), Duration(seconds=2**63 - 1),
            Duration(seconds=-2**63), Duration(seconds=1, nanos=10**9), Duration(nanos=2**31 - 1),
            Duration(seconds=1, nanos=-1), Duration(seconds=-1, nanos=1), Duration(nanos=-10**9),
            Duration(nanos=-2**31)]


def durations(max_seconds):
    return [Duration(), Duration(nanos=1), Duration(seconds=max_seconds)]


def compute(**work):
    return Job(compute=work)


def spin(duration):
    return compute(spin=job_pb2.Spin(cpu_time=duration))


def labels(count):
    return {f"k{i}": "v" for i in range(count)}


# Of a job that is submitted: path, what is refused there, what is not.
JOBS = [
    ("job.work", [Job(), Job(display_name="x")], []),
    ("job.compute.work", [Job(compute={})], []),
    ("job.sleep.duration",
     [Job(sleep={})] + [Job(sleep={"duration": d}) for d in bad_durations(7 * DAY)],
     [Job(sleep={"duration": d}) for d in durations(7 * DAY)]),
    ("job.compute.primes.limit", [compute(primes={"limit": n}) for n in (-1, 10**12 + 1, 2**63 - 1, -2**63)],
     [compute(primes={"limit": n}) for n in (0, 10**12)]),
    ("job.compute.fibonacci.index", [compute(fibonacci={"index": n}) for n in (-1, 10**6 + 1, 2**63 - 1)],
     [compute(fibonacci={"index": n}) for n in (0, 10**6)]),
    ("job.compute.pi.digits", [compute(pi={"digits": n}) for n in (0, -1, 200001, 2**31 - 1)],
     [compute(pi={"digits": n}) for n in (1, 200000)]),
    ("job.compute.hash.bytes", [compute(hash={"bytes": n}) for n in (-1, 2**40 + 1, 2**63 - 1)],
     [compute(hash={"bytes": 2**40, "seed": 2**64 - 1})]),
    ("job.compute.spin.cpu_time", [compute(spin={})] + [spin(d) for d in bad_durations(DAY)],
     [spin(d) for d in durations(DAY)]),
    ("job.noop.payload", [noop_job(bytes(MIB + 1)), noop_job(bytes(2 * MIB))], [noop_job(), noop_job(bytes(MIB))]),
    ("job.display_name",
     [noop_job(display_name=n) for n in ("é" * 129, "x" * 129, "x" * MIB, "a\nb", "\0", "\x7f", "\x1b[2J", "\x85")],
     [noop_job(display_name=n) for n in ("é" * 128, "😀" * 128, "x", " ", '"\\%s{}')]),
    ("job.labels", [noop_job(labels=labels(33)), noop_job(labels=labels(1000))]
     + [noop_job(labels={k: "v"}) for k in ("", "A", "1a", "_a", "a b", "é", "a\n", "a" * 64, "a" * 10**5)],
     [noop_job(labels=labels(32)), noop_job(labels={"a" * 63: "é" * 63, "a_-9": ""})]),
    ("job.labels.team", [noop_job(labels={"team": v}) for v in ("x" * 64, "é" * 64, "a\tb", "\x9f", "x" * MIB)], []),
    ("job.retention", [noop_job(retention=d) for d in bad_durations(30 * DAY)],
     [noop_job(retention=d) for d in durations(30 * DAY)]),
    ("job.pool", [noop_job(pool=n) for n in ("compute", "pools/", "pools/A", "pools/a/b", "pools/é", "jobs/compute",
                                             "pools/compute\n", "pools/" + "a" * 64)],
     [noop_job(pool="pools/blocking")]),
]
JOB_IDS = ["A", "1a", "-a", "a-", "a_b", "a.b", "a b", "é", "jobs/a", "a\0", "a" * 64, "a" * MIB]
JOB_NAMES = ["", "jobs", "jobs/", "jobs/A", "jobs/a/b", "jobs/a ", "jobs/é", "job/a", "threads/t1", "jobs/-a",
             "jobs/../a", "jobs/" + "a" * 64, "x" * MIB, "\0"]
THREAD_NAMES = ["", "threads", "threads/", "jobs/t1", "threads/t1/x", "x" * MIB]
TOKENS = ["x", "AAAA", "====", "é", "\0", "a" * MIB, "MDAwMDAwMDAwMDAwMDAwMDE"]


class BadInput(SharedServerTest):
    def tearDown(self):
        """What was refused left nothing behind, and the server goes on."""
        self.assertEqual(self.shared.process.poll(), None)
        self.assertEqual(self.c.run(noop_job(b"still here")).result.noop.payload, b"still here")
        metrics = self.shared.metrics()
        self.assertEqual(metrics.sum("jobpool_jobs"), 0)
        self.assertEqual(metrics.sum("jobpool_jobs_submitted_total"), metrics.sum("jobpool_jobs_finished_total"))
        self.assertEqual(metrics.sum("grpc_server_handled_total", grpc_code="Internal"), 0)

    def refused(self, path, call, request, code=INVALID, reason="INVALID_FIELD", resource=None):
        """`path`: of the field; or a list: of all fields, no others."""
        with self.subTest(path, request=str(request)[:100]):
            error = self.fails(code, call, request, timeout=PATIENCE)
            self.assertEqual(error.reason, reason)
            if code == INVALID:
                self.assertEqual(sorted(error.fields), sorted(path)) if isinstance(path, list) else self.assertIn(
                    path, error.fields)
            if resource is not None:
                self.assertEqual(error.details["ResourceInfo"][0].resource_name, resource)
                self.assertEqual(error.details["ErrorInfo"][0].metadata["name"], resource)

    def not_found(self, call, request, kind, name):
        self.refused("", call, request, NOT_FOUND, f"{kind}_NOT_FOUND", name)

    def accepted(self, job, **fields):
        with self.subTest("accepted", job=str(job)[:100]):
            name = self.c.submit(job, **fields).name
            if job.HasField("retention") and job.retention.seconds == 0:
                return None  # it may be forgotten already
            try:
                self.c.cancel(name)
            except grpc.RpcError as error:  # it has ended
                self.assertEqual(error.code(), grpc.StatusCode.FAILED_PRECONDITION)
            return self.c.join(name)

    def test_submitted_jobs(self):
        before = self.shared.metrics()
        for path, bad, good in JOBS:
            for job in bad:
                self.refused([path], self.c.jobs.SubmitJob, js.SubmitJobRequest(job=job))
            self.refused(path, self.c.jobs.RunJob, js.RunJobRequest(job=bad[0], detach=True))
            for job in good:
                self.accepted(job)
        refused = sum(len(bad) + 1 for _, bad, _ in JOBS)
        name = "jobpool_jobs_rejected_total"
        counted = [metrics.sum(name, reason="invalid_field") for metrics in (before, self.shared.metrics())]
        self.assertEqual(counted[1] - counted[0], refused)

    def test_submission(self):
        for call, request in ((self.c.jobs.SubmitJob, js.SubmitJobRequest), (self.c.jobs.RunJob, js.RunJobRequest)):
            self.refused("job", call, request())
            for job_id in JOB_IDS:
                self.refused("job_id", call, request(job=noop_job(), job_id=job_id))
            self.not_found(call, request(job=noop_job(pool="pools/nope")), "POOL", "pools/nope")
        for job_id in ("a", "a-b-9", "z" * 63):
            self.assertEqual(self.accepted(noop_job(), job_id=job_id).name, f"jobs/{job_id}")
            self.refused("", self.c.jobs.SubmitJob, js.SubmitJobRequest(job=sleep_job(1), job_id=job_id),
                         grpc.StatusCode.ALREADY_EXISTS, "JOB_EXISTS", f"jobs/{job_id}")

    def test_every_fault_of_a_request_is_named_at_once(self):
        job = Job(sleep={"duration": Duration(seconds=-1)}, display_name="\n", pool="x", labels={"A": ""},
                  retention=Duration(seconds=-1))
        self.refused(["job_id", "job.sleep.duration", "job.display_name", "job.pool", "job.labels", "job.retention"],
                     self.c.jobs.SubmitJob, js.SubmitJobRequest(job=job, job_id="A"))

    def test_errors_stay_small_enough_to_be_received(self):
        # Clients take 8 KiB of metadata by default.
        self.refused("names[0]", self.c.jobs.WaitJobs, js.WaitJobsRequest(names=["x"] * 10000))
        self.refused("job.labels", self.c.jobs.SubmitJob,
                     js.SubmitJobRequest(job=noop_job(labels={f"{'é' * 100}{i}": "" for i in range(32)})))
        self.refused("job.labels." + "a" * 61 + "00", self.c.jobs.SubmitJob, js.SubmitJobRequest(
            job=noop_job(labels={f"{'a' * 61}{i:02}": "x" * 100 for i in range(32)})))
        self.refused("update_mask", self.c.jobs.UpdateJob, js.UpdateJobRequest(
            job={"name": "jobs/a"}, update_mask=Mask(paths=[f"nope{i}" for i in range(1000)])))
        check = self.c.channel.unary_unary("/grpc.health.v1.Health/Check")
        name = b"x" * 100_000
        request = b"\x0a" + bytes([len(name) & 127 | 128, len(name) >> 7 & 127 | 128, len(name) >> 14]) + name
        self.fails(NOT_FOUND, check, request, timeout=PATIENCE)

    def test_metadata_keys_are_what_error_info_allows(self):
        # google/rpc/error_details.proto: keys match [a-z][a-zA-Z0-9-_]+, at most 64 characters.
        for call, request in ((self.c.jobs.SubmitJob, js.SubmitJobRequest(job=Job(sleep={}))),
                              (self.c.jobs.WaitJobs, js.WaitJobsRequest(names=["x"]))):
            for key in self.fails(INVALID, call, request).details["ErrorInfo"][0].metadata:
                self.assertRegex(key, r"\A[a-z][a-zA-Z0-9_-]{1,63}\Z")

    def test_output_only_fields_are_ignored(self):
        job = noop_job(name="jobs/mine", state=Job.FAILED, alive=True, attempts=[{"number": 9}],
                       result={"noop": {"payload": b"forged"}}, error={"code": 3}, progress={"ratio": 7})
        job.create_time.seconds = job.end_time.seconds = 1
        answer = self.c.run(job)
        self.assertNotEqual(answer.name, "jobs/mine")
        self.assertEqual((answer.state, answer.result.noop.payload, answer.error.code), (Job.SUCCEEDED, b"", 0))
        self.assertEqual([a.number for a in answer.attempts], [1])
        self.assertGreater(answer.create_time.seconds, 1)

    def test_names(self):
        jobs, name = self.c.jobs, "jobs/nobody"
        for call, request in ((jobs.GetJob, js.GetJobRequest), (jobs.CancelJob, js.CancelJobRequest),
                              (jobs.DeleteJob, js.DeleteJobRequest)):
            for bad in JOB_NAMES:
                self.refused("name", call, request(name=bad))
            self.not_found(call, request(name=name), "JOB", name)
        for bad in JOB_NAMES:
            self.refused("job.name", jobs.UpdateJob, js.UpdateJobRequest(job={"name": bad, "display_name": "x"}))
            self.refused("names[1]", jobs.WaitJobs, js.WaitJobsRequest(names=["jobs/a", bad]))
        self.not_found(jobs.UpdateJob, js.UpdateJobRequest(job={"name": name, "display_name": "x"}), "JOB", name)
        threads = self.c.threads
        for bad in THREAD_NAMES:
            self.refused("name", threads.GetThread, ts.GetThreadRequest(name=bad))
            self.refused("thread.name", threads.UpdateThread,
                         ts.UpdateThreadRequest(thread={"name": bad, "display_name": "x"}))
        for unknown in ("threads/t999999", "threads/999999", "threads/nobody"):  # the ids are opaque
            self.not_found(threads.GetThread, ts.GetThreadRequest(name=unknown), "THREAD", unknown)
            self.not_found(threads.UpdateThread, ts.UpdateThreadRequest(
                thread={"name": unknown, "display_name": "x"}), "THREAD", unknown)
        for bad in ("", "compute", "pools/", "pools/A", "pools/a/b", "x" * MIB):
            self.refused("name", self.c.pools.GetPool, ps.GetPoolRequest(name=bad))
        self.not_found(self.c.pools.GetPool, ps.GetPoolRequest(name="pools/nope"), "POOL", "pools/nope")

    def test_updates(self):
        name = self.c.submit(sleep_job(600)).name
        update, thread_update = self.c.jobs.UpdateJob, self.c.threads.UpdateThread

        def request(*paths, **fields):
            return js.UpdateJobRequest(job={"name": name, **fields}, update_mask=Mask(paths=paths) if paths else None)

        for path in ("state", "name", "nope", "", "display_name.x", "displayName", "\n", "pool", "sleep.duration"):
            self.refused("update_mask", update, request("display_name", path, display_name="x"))
        self.refused("job.display_name", update, request("display_name"))
        self.refused("job.display_name", update, request("*", labels={"a": "b"}))
        self.refused("job.display_name", update, request(display_name="é" * 129))
        self.refused("job.labels", update, request(labels=labels(33)))
        self.refused("job.labels.a", update, request("labels", labels={"a": "x" * 64}))
        self.refused("job.name", update, js.UpdateJobRequest())
        self.assertEqual(update(request(display_name="é" * 128)).display_name, "é" * 128)
        self.assertEqual(update(request("labels")).labels, {})
        thread = self.c.running(name).attempts[0].thread
        for bad in ("é" * 65, "a\nb", "x" * MIB):
            self.refused("thread.display_name", thread_update,
                         ts.UpdateThreadRequest(thread={"name": thread, "display_name": bad}))
        self.refused("thread.display_name", thread_update,
                     ts.UpdateThreadRequest(thread={"name": thread}, update_mask=Mask(paths=["display_name"])))
        for path in ("role", "daemon", "nope", ""):
            self.refused("update_mask", thread_update, ts.UpdateThreadRequest(
                thread={"name": thread, "display_name": "x"}, update_mask=Mask(paths=[path])))
        self.c.cancel(name)
        self.c.join(name)
        self.refused("", update, request(display_name="late"), grpc.StatusCode.FAILED_PRECONDITION, "JOB_ENDED")

    def test_delete_of_a_job_that_has_not_ended(self):
        name = self.c.submit(sleep_job(600)).name
        self.refused("", self.c.jobs.DeleteJob, js.DeleteJobRequest(name=name),
                     grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_ENDED")
        self.c.cancel(name)
        self.c.join(name)

    def test_waits(self):
        wait, name = self.c.jobs.WaitJobs, self.c.run(noop_job()).name
        self.refused("names", wait, js.WaitJobsRequest())
        self.refused("names", wait, js.WaitJobsRequest(names=[name] * 10001))
        self.assertEqual(len(wait(js.WaitJobsRequest(names=[name] * 10000)).jobs), 10000)
        for duration in bad_durations(30 * DAY):
            self.refused("timeout", wait, js.WaitJobsRequest(names=[name], timeout=duration))
        self.assertFalse(wait(js.WaitJobsRequest(names=[name], timeout=Duration(seconds=30 * DAY))).timed_out)
        for mode in (3, -1, 2**31 - 1):
            self.refused("mode", wait, js.WaitJobsRequest(names=[name], mode=mode))

    def test_pages(self):
        for _ in range(3):
            self.c.run(noop_job())
        lists = [(self.c.jobs.ListJobs, js.ListJobsRequest), (self.c.threads.ListThreads, ts.ListThreadsRequest),
                 (self.c.pools.ListPools, ps.ListPoolsRequest)]
        tokens = [call(request(page_size=1)).next_page_token for call, request in lists]
        for (call, request), own in zip(lists, tokens):
            self.assertTrue(own)
            self.assertTrue(call(request(page_size=2**31 - 1)))
            self.assertTrue(call(request(page_token=own)))
            for size in (-1, -2**31):
                self.refused("page_size", call, request(page_size=size))
            for token in TOKENS + [own[:-1], own[1:], own[:20], own + own] + [t for t in tokens if t != own]:
                self.refused("page_token", call, request(page_token=token))
        self.refused("page_token", self.c.threads.ListThreads,  # another argument has changed
                     ts.ListThreadsRequest(page_token=tokens[1], include_os_threads=True))
