"""Control through the wire: order, time, cancellation, limits, live operation and explanation."""
import time
import uuid

import grpc
from google.protobuf import field_mask_pb2
from jobpool.v1 import job_pb2, job_service_pb2 as js, pool_service_pb2 as ps, thread_pb2, thread_service_pb2 as ts
from jobpool_e2e import E2eTest, eventually, job_reason, noop_job, seconds, sleep_job, unix_time

Job = job_pb2.Job
Pool = ps.jobpool_dot_v1_dot_pool__pb2.Pool
Explain = js.ExplainJobResponse
Code = grpc.StatusCode


def at(moment):
    whole = int(moment)
    return {"seconds": whole, "nanos": int((moment - whole) * 1e9)}


class Control(E2eTest):
    def setUp(self):
        super().setUp()
        config = self.config_flag('''
            pools { name: "one" max_threads: 1 max_queued_jobs: 2000 }
            pools { name: "slow" max_threads: 4 max_starts_per_second: 20 max_submits_per_second: 100 }
            kinds { name: "spin" max_running_jobs: 1 }''')
        self.shared, self.c = self.both(config)

    def pool(self, name="one"):
        return self.c.pools.GetPool(ps.GetPoolRequest(name=f"pools/{name}"))

    def pause(self, name="one"):
        return self.c.pools.PausePool(ps.PausePoolRequest(name=f"pools/{name}"))

    def resume(self, name="one"):
        return self.c.pools.ResumePool(ps.ResumePoolRequest(name=f"pools/{name}"))

    def explain(self, name):
        return self.c.jobs.ExplainJob(js.ExplainJobRequest(name=name))

    def update(self, *paths, **job):
        return self.c.jobs.UpdateJob(js.UpdateJobRequest(
            job=job, update_mask=field_mask_pb2.FieldMask(paths=paths)))

    def test_priorities_first_in_first_out_and_nobody_starves(self):
        self.pause()
        names = {p: [self.c.submit(noop_job(pool="pools/one", priority=p)).name for _ in range(100)]
                 for p in (0, 4, 9)}
        self.resume()
        jobs = [self.c.join(name) for per in names.values() for name in per]
        order = [job.name for job in sorted(jobs, key=lambda job: unix_time(job.start_time))]
        for per in names.values():
            self.assertEqual([name for name in order if name in per], per)
        first = order[:101]
        self.assertEqual([name for name in first if name in names[0]], names[0][:1])
        self.assertLess(order.index(names[4][0]), 70)
        self.assertGreaterEqual(len([name for name in first if name in names[9]]), 97)

    def test_priority_can_change_while_queued(self):
        self.pause()
        first = self.c.submit(noop_job(pool="pools/one")).name
        second = self.c.submit(noop_job(pool="pools/one")).name
        self.assertEqual(self.explain(second).place, 2)
        self.assertEqual(self.update("priority", name=second, priority=9).priority, 9)
        self.assertEqual((self.explain(second).place, self.explain(first).place), (1, 2))
        self.resume()
        self.assertLess(unix_time(self.c.join(second).start_time), unix_time(self.c.join(first).start_time))

    def test_schedule_time(self):
        when = time.time() + 0.7
        job = self.c.submit(noop_job(schedule_time=at(when)))
        self.assertEqual((job.state, job.alive), (Job.SCHEDULED, False))
        self.assertAlmostEqual(unix_time(job.ready_time), when, places=3)
        why = self.explain(job.name)
        self.assertEqual((why.wait, why.state), (Explain.SCHEDULE, Job.SCHEDULED))
        self.assertAlmostEqual(unix_time(why.estimated_start_time), when, places=3)
        ended = self.c.join(job.name)
        self.assertEqual(ended.state, Job.SUCCEEDED)
        self.assertGreaterEqual(unix_time(ended.start_time), when)
        # One that is past means at once; one that is moved there too.
        self.assertEqual(self.c.run(noop_job(schedule_time=at(1))).state, Job.SUCCEEDED)
        later = self.c.submit(noop_job(schedule_time=at(time.time() + 3600))).name
        self.assertEqual(self.update("schedule_time", name=later).state, Job.QUEUED)
        self.assertEqual(self.c.join(later).state, Job.SUCCEEDED)

    def test_queued_job_is_scheduled_again(self):
        self.pause()
        name = self.c.submit(noop_job(pool="pools/one")).name
        job = self.update("schedule_time", name=name, schedule_time=at(time.time() + 3600))
        self.assertEqual(job.state, Job.SCHEDULED)
        pool = self.pool()
        self.assertEqual((pool.scheduled_jobs, pool.queued_jobs, pool.state), (1, 0, Pool.PAUSED))
        self.assertEqual(self.c.cancel(name).state, Job.CANCELLED)
        self.assertEqual(self.pool().scheduled_jobs, 0)

    def test_timeout_and_retries(self):
        job = self.c.run(sleep_job(600, timeout=seconds(0.1), retry_policy={
            "max_attempts": 3, "initial_backoff": seconds(0.1), "multiplier": 2, "jitter": 0}))
        self.assertEqual((job.state, job_reason(job), job.error.code),
                         (Job.FAILED, "ATTEMPT_TIMED_OUT", Code.DEADLINE_EXCEEDED.value[0]))
        self.assertEqual([attempt.number for attempt in job.attempts], [1, 2, 3])
        for attempt in job.attempts:
            lasted = unix_time(attempt.end_time) - unix_time(attempt.start_time)
            self.assertGreaterEqual(lasted, 0.1)
            (step,) = attempt.stop_steps
            self.assertEqual(step.action, job_pb2.StopStep.ASKED)
            self.assertGreaterEqual(unix_time(step.time) - unix_time(attempt.start_time), 0.1 - 0.002)
        waits = [unix_time(b.start_time) - unix_time(a.end_time) for a, b in zip(job.attempts, job.attempts[1:])]
        self.assertGreaterEqual(waits[0], 0.1 - 1e-6)
        self.assertGreaterEqual(waits[1], 0.2 - 1e-6)
        self.assertEqual(self.shared.metrics().sum("jobpool_job_retries_total", kind="sleep"), 2)

    def test_cancel_during_backoff(self):
        name = self.c.submit(sleep_job(600, timeout=seconds(0.05), retry_policy={
            "max_attempts": 2, "initial_backoff": seconds(3600)})).name
        eventually(lambda: self.c.get(name).state == Job.SCHEDULED, what="the backoff")
        self.assertEqual(self.explain(name).wait, Explain.BACKOFF)
        self.assertEqual(self.c.cancel(name).state, Job.CANCELLED)

    def test_deadline_ends_a_job_queued_or_running(self):
        deadline = time.time() + 0.5
        running = self.c.submit(sleep_job(600, deadline_time=at(deadline), pool="pools/one")).name
        queued = self.c.submit(sleep_job(0, deadline_time=at(deadline), pool="pools/one")).name
        scheduled = self.c.submit(noop_job(deadline_time=at(deadline), pool="pools/one")).name
        for name, attempts in ((running, 1), (queued, 0), (scheduled, 0)):
            job = self.c.join(name)
            self.assertEqual((job.state, job_reason(job), len(job.attempts)),
                             (Job.FAILED, "DEADLINE_PASSED", attempts))
            self.assertGreaterEqual(unix_time(job.end_time), deadline)
        error = self.fails(Code.INVALID_ARGUMENT, self.c.submit, noop_job(deadline_time=at(time.time() - 1)))
        self.assertEqual(error.fields, ["job.deadline_time"])

    def test_retry_job(self):
        old = self.c.run(sleep_job(600, timeout=seconds(0.05), labels={"a": "1"}, display_name="x", priority=7))
        new = self.c.jobs.RetryJob(js.RetryJobRequest(name=old.name))
        self.assertEqual((new.retry_of, new.display_name, dict(new.labels), new.priority, new.timeout),
                         (old.name, "x", {"a": "1"}, 7, old.timeout))
        self.assertNotEqual(new.name, old.name)
        self.fails(Code.FAILED_PRECONDITION, self.c.jobs.RetryJob, js.RetryJobRequest(name=new.name))
        self.c.join(new.name)
        key = str(uuid.uuid4())
        same = [self.c.jobs.RetryJob(js.RetryJobRequest(name=old.name, request_id=key)).name for _ in range(2)]
        self.assertEqual(same[0], same[1])
        self.fails(Code.FAILED_PRECONDITION, self.c.jobs.RetryJob, js.RetryJobRequest(name=new.name, request_id=key))
        self.fails(Code.NOT_FOUND, self.c.jobs.RetryJob, js.RetryJobRequest(name="jobs/none"))

    def test_etag(self):
        name = self.c.submit(noop_job(schedule_time=at(time.time() + 3600))).name
        etag = self.c.get(name).etag
        self.assertEqual(self.c.get(name).etag, etag)
        changed = self.update("display_name", name=name, display_name="a", etag=etag)
        self.assertNotEqual(changed.etag, etag)
        self.fails(Code.ABORTED, self.update, "display_name", name=name, display_name="b", etag=etag)
        self.assertEqual(self.c.get(name).display_name, "a")
        self.update("display_name", name=name, display_name="b", etag=changed.etag)
        running = self.c.submit(sleep_job(600)).name
        self.c.running(running)
        for paths, fields in ((["priority"], {"priority": 1}), (["schedule_time"], {}), (["deadline_time"], {})):
            self.fails(Code.FAILED_PRECONDITION, self.update, *paths, name=running, **fields)
        self.c.cancel(running)

    def test_resize_pause_resume_drain(self):
        update = lambda n: self.c.pools.UpdatePool(ps.UpdatePoolRequest(
            pool={"name": "pools/one", "max_threads": n}, update_mask={"paths": ["max_threads"]}))
        names = [self.c.submit(sleep_job(600, pool="pools/one")).name for _ in range(8)]
        eventually(lambda: self.pool().running_jobs == 1, what="one runs")
        self.assertEqual(update(8).max_threads, 8)
        eventually(lambda: self.pool().running_jobs == 8, what="all run")
        pool = update(1)
        self.assertEqual((pool.max_threads, pool.threads, pool.retiring_threads, pool.running_jobs), (1, 8, 7, 8))
        for name in names[:6]:
            self.c.cancel(name)
            self.c.join(name)
        eventually(lambda: self.pool().threads == 2, what="threads end")
        self.assertEqual(self.pool().retiring_threads, 1)
        self.assertEqual(self.c.pools.DrainPool(ps.DrainPoolRequest(name="pools/one")).state, Pool.DRAINING)
        error = self.fails(Code.UNAVAILABLE, self.c.submit, noop_job(pool="pools/one"))
        self.assertEqual(error.reason, "POOL_DRAINING")
        for name in names[6:]:
            self.c.cancel(name)
        eventually(lambda: self.pool().running_jobs == 0, what="it has drained")
        self.assertEqual(self.resume().state, Pool.ACTIVE)
        self.assertEqual(self.c.run(noop_job(pool="pools/one")).state, Job.SUCCEEDED)
        self.pause()
        waits = self.c.submit(noop_job(pool="pools/one")).name
        why = self.explain(waits)
        self.assertEqual((why.wait, why.place, why.HasField("estimated_start_time")), (Explain.PAUSE, 1, False))
        self.resume()
        self.assertEqual(self.c.join(waits).state, Job.SUCCEEDED)
        self.fails(Code.INVALID_ARGUMENT, update, 0)
        self.fails(Code.NOT_FOUND, self.pause, "none")

    def test_limits_of_a_kind_hold_no_other_up(self):
        spin = {"compute": {"spin": {"cpu_time": seconds(3600)}}}
        first = self.c.submit(Job(pool="pools/blocking", **spin)).name
        self.c.running(first)
        second = self.c.submit(Job(pool="pools/blocking", **spin)).name
        self.assertEqual(self.c.run(sleep_job(0)).state, Job.SUCCEEDED)
        why = self.explain(second)
        self.assertEqual((why.state, why.wait), (Job.QUEUED, Explain.KIND_LIMIT))
        self.c.cancel(first)
        self.c.running(second)
        self.c.cancel(second)

    def test_rates(self):
        begin = time.time()
        names = [self.c.submit(sleep_job(0, pool="pools/slow")).name for _ in range(21)]
        starts = sorted(unix_time(self.c.join(name).start_time) for name in names)
        self.assertGreaterEqual(starts[-1] - starts[0], 19 / 20 - 0.1)
        self.assertLess(time.time() - begin, 10)

        def submit_many():
            for _ in range(1000):
                self.c.submit(sleep_job(0, pool="pools/slow"))
        refusal = self.fails(Code.RESOURCE_EXHAUSTED, submit_many)
        self.assertEqual(refusal.reason, "RATE_REACHED")

    def test_explains(self):
        blocker = self.c.submit(sleep_job(600, pool="pools/one")).name
        self.c.running(blocker)
        self.assertEqual(self.explain(blocker).wait, Explain.WAIT_UNSPECIFIED)
        low = self.c.submit(sleep_job(0, pool="pools/one", priority=0)).name
        high = self.c.submit(sleep_job(0, pool="pools/one", priority=9)).name
        why = self.explain(low)
        self.assertEqual((why.wait, why.place, self.explain(high).place), (Explain.WORKERS, 2, 1))
        self.assertIn("1 job comes before it", why.explanation)
        self.c.cancel(blocker)
        self.assertEqual(self.c.join(low).state, Job.SUCCEEDED)
        self.assertIn("SUCCEEDED", self.explain(low).explanation)
        self.fails(Code.NOT_FOUND, self.explain, "jobs/none")


if __name__ == "__main__":
    import unittest
    unittest.main()
