"""Requests that come again (request_id), that come many at once (BatchSubmitJobs), and that only ask
(validate_only)."""
import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc
from jobpool.v1 import job_pb2, job_service_pb2 as js
from jobpool_e2e import PATIENCE, SharedServerTest, eventually, noop_job, sleep_job

Job = job_pb2.Job
MIB = 1 << 20


def fresh():
    return str(uuid.uuid4())


class Requests(SharedServerTest):
    def batch(self, *requests, **fields):
        return self.c.jobs.BatchSubmitJobs(js.BatchSubmitJobsRequest(requests=requests, **fields), timeout=PATIENCE)

    def count(self):
        """How many jobs were accepted so far."""
        return self.shared.metrics().sum("jobpool_jobs_submitted_total")


class SentAgain(Requests):
    def test_the_same_request_is_the_same_job(self):
        job, request = noop_job(b"x", labels={"b": "2", "a": "1"}), fresh()
        before = self.count()
        first = self.c.submit(job, request_id=request)
        self.c.join(first.name)
        for again in (request, request.upper()):
            self.assertEqual(self.c.submit(job, request_id=again), self.c.get(first.name))  # as it stands
        self.assertEqual(self.c.run(job, request_id=request).name, first.name)
        self.assertEqual([j.name for j in self.batch(js.SubmitJobRequest(job=job, request_id=request)).jobs],
                         [first.name])
        self.assertEqual(self.count(), before + 1)
        self.assertNotEqual(self.c.submit(job, request_id=fresh()).name, first.name)
        self.assertNotEqual(self.c.submit(job).name, first.name)

    def test_another_payload_is_refused(self):
        request = fresh()
        first = self.c.submit(noop_job(b"x"), request_id=request)
        for fields in ({"job": noop_job(b"y")}, {"job": noop_job(b"x", display_name="x")},
                       {"job": noop_job(b"x"), "job_id": "other"}, {"job": sleep_job(1)}):
            for call in (self.c.submit, self.c.run):
                error = self.fails(grpc.StatusCode.FAILED_PRECONDITION, call, **fields, request_id=request)
                self.assertEqual(error.reason, "REQUEST_ID_REUSED")
                self.assertEqual(error.details["ErrorInfo"][0].metadata["name"], first.name)
        self.fails(grpc.StatusCode.NOT_FOUND, self.c.get, "jobs/other")

    def test_a_request_id_is_a_uuid(self):
        for bad in ("x", "5f0c", "0" * 32, "00000000-0000-0000-0000-000000000000", fresh() + "0", "x" * 10_000):
            error = self.fails(grpc.StatusCode.INVALID_ARGUMENT, self.c.submit, noop_job(), request_id=bad)
            self.assertEqual(error.fields, ["request_id"])
            error = self.fails(grpc.StatusCode.INVALID_ARGUMENT, self.batch, js.SubmitJobRequest(job=noop_job()),
                               js.SubmitJobRequest(job=noop_job(), request_id=bad))
            self.assertEqual(error.fields, ["requests[1].request_id"])

    def test_at_once(self):
        before = self.count()
        for _ in range(20):
            request = fresh()
            with ThreadPoolExecutor(8) as pool:
                jobs = list(pool.map(lambda _, r=request: self.c.submit(noop_job(), request_id=r), range(8)))
            self.assertEqual(len({job.name for job in jobs}), 1)
        self.assertEqual(self.count(), before + 20)

    def test_a_run_that_comes_again_waits_for_its_job(self):
        job, request = sleep_job(600), fresh()
        first = self.c.jobs.RunJob.future(js.RunJobRequest(job=job, job_id="again", request_id=request, detach=True))
        eventually(lambda: any(j.name == "jobs/again" for j in self.c.jobs.ListJobs(js.ListJobsRequest()).jobs))
        second = self.c.jobs.RunJob.future(js.RunJobRequest(job=job, job_id="again", request_id=request))
        third = self.c.jobs.RunJob.future(js.RunJobRequest(job=job, job_id="again", request_id=request))
        self.c.running("jobs/again")
        first.cancel()  # it is detached
        second.cancel()  # and belongs to none that came later
        self.assertEqual(self.c.cancel("jobs/again").state, Job.RUNNING)
        self.assertEqual(third.result(timeout=PATIENCE).state, Job.CANCELLED)
        self.assertEqual(third.result().error.code, grpc.StatusCode.CANCELLED.value[0])

    def test_a_job_that_is_gone_does_not_run_again(self):
        request = fresh()
        name = self.c.run(noop_job(), request_id=request).name
        self.c.jobs.DeleteJob(js.DeleteJobRequest(name=name))
        error = self.fails(grpc.StatusCode.NOT_FOUND, self.c.submit, noop_job(), request_id=request)
        self.assertEqual((error.reason, error.details["ResourceInfo"][0].resource_name), ("JOB_NOT_FOUND", name))


class ManyAtOnce(Requests):
    def test_all_in_their_order(self):
        jobs = self.batch(*(js.SubmitJobRequest(job=noop_job(b"%d" % i, display_name=f"n{i}")) for i in range(100))).jobs
        self.assertEqual([j.display_name for j in jobs], [f"n{i}" for i in range(100)])
        ended = self.c.wait([j.name for j in jobs]).jobs
        self.assertEqual([j.result.noop.payload for j in ended], [b"%d" % i for i in range(100)])

    def test_all_or_none(self):
        self.c.submit(noop_job(), job_id="taken")
        before = self.count()
        good = js.SubmitJobRequest(job=noop_job(), job_id="not-taken")
        for code, bad in ((grpc.StatusCode.ALREADY_EXISTS, js.SubmitJobRequest(job=noop_job(), job_id="taken")),
                          (grpc.StatusCode.ALREADY_EXISTS, good),
                          (grpc.StatusCode.NOT_FOUND, js.SubmitJobRequest(job=noop_job(pool="pools/none"))),
                          (grpc.StatusCode.INVALID_ARGUMENT, js.SubmitJobRequest()),
                          (grpc.StatusCode.INVALID_ARGUMENT, js.SubmitJobRequest(job=sleep_job(-1)))):
            self.fails(code, self.batch, good, bad)
        error = self.fails(grpc.StatusCode.INVALID_ARGUMENT, self.batch, good, js.SubmitJobRequest(),
                           js.SubmitJobRequest(job=sleep_job(-1), job_id="A"))
        self.assertEqual(error.fields, ["requests[1].job", "requests[2].job.sleep.duration", "requests[2].job_id"])
        self.fails(grpc.StatusCode.NOT_FOUND, self.c.get, "jobs/not-taken")
        self.assertEqual(self.count(), before)

    def test_how_many(self):
        request = js.SubmitJobRequest(job=noop_job())
        self.assertEqual(self.fails(grpc.StatusCode.INVALID_ARGUMENT, self.batch).fields, ["requests"])
        self.assertEqual(len(self.batch(*[request] * 10_000).jobs), 10_000)
        error = self.fails(grpc.StatusCode.INVALID_ARGUMENT, self.batch, *[request] * 10_001)
        self.assertEqual(error.fields, ["requests"])

    def test_the_answer_stays_small(self):
        jobs = self.batch(*(js.SubmitJobRequest(job=noop_job(b"x" * MIB)) for _ in range(5))).jobs
        self.assertTrue(all(j.HasField("noop") and j.display_name and not j.noop.payload for j in jobs))
        labels = {f"k{i}": "v" * 63 for i in range(32)}
        answer = self.batch(*(js.SubmitJobRequest(job=noop_job(labels=labels)) for _ in range(2000)))
        self.assertLess(answer.ByteSize(), 3 * MIB)
        self.assertEqual(len({j.name for j in answer.jobs}), 2000)

    def test_a_batch_sent_again(self):
        requests = [js.SubmitJobRequest(job=noop_job(), request_id=fresh()) for _ in range(10)]
        names = [j.name for j in self.batch(*requests).jobs]
        self.assertEqual([j.name for j in self.batch(*requests).jobs], names)
        more = requests[::-1] + [js.SubmitJobRequest(job=noop_job())]
        self.assertEqual([j.name for j in self.batch(*more).jobs][:10], names[::-1])


class OnlyAsked(Requests):
    def test_nothing_is_made(self):
        before = self.count()
        job = sleep_job(1, labels={"a": "b"})
        for answer in (self.c.submit(job, validate_only=True, request_id=fresh()), self.c.run(job, validate_only=True),
                       self.batch(js.SubmitJobRequest(job=job), validate_only=True).jobs[0]):
            self.assertEqual((answer.pool, answer.retention.seconds, dict(answer.labels), answer.sleep.duration.seconds),
                             ("pools/blocking", 24 * 3600, {"a": "b"}, 1))
            self.assertEqual((answer.name, answer.state, answer.HasField("create_time"), answer.display_name),
                             ("", Job.STATE_UNSPECIFIED, False, ""))
        named = self.c.submit(noop_job(display_name="n"), job_id="mine", validate_only=True)
        self.assertEqual((named.name, named.display_name), ("jobs/mine", "n"))
        self.fails(grpc.StatusCode.NOT_FOUND, self.c.get, "jobs/mine")
        self.assertEqual(self.count(), before)
        self.assertEqual(self.c.submit(noop_job(), job_id="mine").name, "jobs/mine")

    def test_of_a_request_that_came_before(self):
        request = fresh()
        made = self.c.run(noop_job(), request_id=request)
        self.assertEqual(self.c.submit(noop_job(), request_id=request, validate_only=True).name, made.name)
        self.assertEqual(self.c.run(noop_job(), request_id=request, validate_only=True).end_time, made.end_time)

    def test_what_would_be_refused_is(self):
        self.c.submit(noop_job(), job_id="there")
        request = fresh()
        self.c.submit(noop_job(), request_id=request)
        for code, job, fields in (
                (grpc.StatusCode.INVALID_ARGUMENT, sleep_job(-1), {}),
                (grpc.StatusCode.NOT_FOUND, noop_job(pool="pools/none"), {}),
                (grpc.StatusCode.ALREADY_EXISTS, noop_job(), {"job_id": "there"}),
                (grpc.StatusCode.FAILED_PRECONDITION, noop_job(b"other"), {"request_id": request})):
            self.fails(code, self.c.submit, job, validate_only=True, **fields)
            self.fails(code, self.c.run, job, validate_only=True, **fields)
            self.fails(code, self.batch, js.SubmitJobRequest(job=job, **fields), validate_only=True)

    def test_it_is_said_of_the_batch(self):
        error = self.fails(grpc.StatusCode.INVALID_ARGUMENT, self.batch,
                           js.SubmitJobRequest(job=noop_job(), validate_only=True))
        self.assertEqual(error.fields, ["requests[0].validate_only"])
